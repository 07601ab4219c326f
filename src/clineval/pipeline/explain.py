"""Maps of what a model's risk depends on, each checked before it is shown: the work of clineval explain."""

import re
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from math import isnan, nan
from os import cpu_count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from clineval.data.cohort import Cohort
from clineval.data.findings import stroke_pixels
from clineval.data.image_files import HeldFile, find_images
from clineval.data.preparation import DEEP
from clineval.data.similarity import evenly_spaced
from clineval.errors import InputError, Progress, option
from clineval.evaluation import Evaluation
from clineval.files import json_text
from clineval.models.classifier import Classifier, cascade, checked_risk, mean_of, randomised
from clineval.models.network import Networks
from clineval.models.preprocessing import CHUNK, MIRRORED, ORIGINAL, Images, View, external_view
from clineval.models.scattering import ScatteringModel
from clineval.models.stored import Floats
from clineval.models.transfer import TransferModel
from clineval.pipeline.predict import Prediction, check_answer, predict_files, write_answer
from clineval.pipeline.stored_run import (
    AS_TRAINED,
    StoredRun,
    final_risks,
    read_run,
    read_unsealed,
)
from clineval.reporting.artefacts import CheckedMaps, Explanation, MapCheck, failures, write_maps
from clineval.reporting.sentences import main_point
from clineval.results.folder import unwritable

DRAWS = 4  # randomised models that a map is compared with
SHIFT = (1, 1)  # rows and columns by which an image is moved to see whether its map stays
CHECKED = 7  # cells a side at which maps are compared, some of those of the map itself
SHARE = CHUNK // 2  # images that a core takes at once where there are few, so that none waits long
FINE = 32  # pixels a side up to which every pixel is a cell of its own
COARSE = 14  # cells a side of larger images
PATCH = 5 / 28  # side of a patch as a share of the image's
Members = tuple[Classifier, ...]
Version = Mapping[str, Members]  # by name of a trained model: the classifiers of which it is the mean
Task = tuple[Sequence[Version], Images]  # versions of a model, and the images that they are to score


@dataclass(frozen=True, repr=False)
class ShownExplanation(Explanation):
    """The checked map of one image, which a notebook shows as its picture."""

    def _repr_png_(self) -> bytes:
        from clineval.reporting.maps import explanation_png

        return explanation_png(self)


@dataclass(frozen=True)
class Explainer:
    """One model of a run beside its randomised versions, ready to map images.

    Attributes
    ----------
    run : narrowed to the models that this one is made of.
    matching : average over the image and the image of matched grey levels, as ``clineval predict`` does.
    """

    run: StoredRun
    model: str
    matching: bool = True

    def explain(self, square: Images, *, image: str = "", stride: int | None = None) -> Explanation:
        """The checked map of one prepared image, uint8, shape (side, side).

        Parameters
        ----------
        stride : pixels from one cell to the next; by default 1 up to 32 pixels a side, then a fourteenth.

        Raises
        ------
        InputError : an image of another size or type than the run was trained on.
        """
        side = self.run.side
        if square.shape != (side, side) or square.dtype != np.uint8:
            raise InputError(
                f"The models take grey images of {side} x {side} pixels (uint8); got {square.dtype} of "
                f"shape {square.shape}. Prepare them to that size."
            )
        stride = stride or stride_for(side)
        risk, maps, check = self._mapped(square, stride, beside=self._randomised[:1])
        return Explanation(
            image=image,
            model=self.model,
            condition=self.run.condition,
            square=square,
            risk=risk,
            threshold=self._threshold,
            map=maps[..., 0],
            randomised=maps[..., 1] if maps.shape[-1] > 1 else None,
            check=check,
            patch=patch_for(side),
            stride=stride,
            notice=self.run.notice,
        )

    def checked_map(self, square: Images, *, stride: int) -> tuple[Floats, MapCheck]:
        """The map of one prepared image and its check, without the randomised model's map beside it."""
        _, maps, check = self._mapped(square, stride, beside=())
        return maps[..., 0], check

    def check(self, square: Images) -> MapCheck:
        """Agreement with randomised models, stability and agreement of seeds, on a coarse grid of cells."""
        tested, moved = self.risks(self._tests(square))
        return self._judged(_changes(tested), _changes(moved))

    def down_the_layers(self, square: Images) -> dict[str, float]:
        """Rank correlation with the map of the model after each layer was randomised, from the top."""
        steps = _cascade(self.run.models, seed=0)
        versions = [self._as_trained, *(version for _, version in steps)]
        own, *others = _changes(*self.risks([(versions, self._hidden(square, cells=self._checked))])).T
        return {name: rank_correlation(own, each) for (name, _), each in zip(steps, others, strict=True)}

    def prepare(self) -> None:
        """Make every version of the model ready, for which the first map would wait."""
        self.risks([(self._versions, np.zeros((1, self.run.side, self.run.side), np.uint8))])

    def risks(self, tasks: Sequence[Task]) -> list[Floats]:
        """Risks of each task's images by each of its versions of the model, shape (images, versions).

        They depend neither on the cores, which share the images, nor on how the images are shared.
        """
        cores = cpu_count() or 1
        few = sum(len(images) for _, images in tasks) < cores * 4 * CHUNK
        size = SHARE if few else CHUNK
        parts = [
            (place, versions, images[start : start + size])
            for place, (versions, images) in enumerate(tasks)
            for start in range(0, len(images), size)
        ]
        with threadpool_limits(1), ThreadPoolExecutor(max_workers=cores) as pool:
            found = list(pool.map(lambda part: self._score(*part[1:]), parts))
        return [
            np.concatenate(
                [np.empty((0, len(versions)))]
                + [each for (of, _, _), each in zip(parts, found, strict=True) if of == place]
            )
            for place, (versions, _) in enumerate(tasks)
        ]

    def _mapped(
        self, square: Images, stride: int, *, beside: Sequence[Version]
    ) -> tuple[float, Floats, MapCheck]:
        """The risk, maps of the model and of those beside it, shape (rows, columns, models), and the check.

        A cell of the map that is one of the check's, too, is scored once. Those beside it are scored at up
        to 14 cells a side, whose values stand in the cells around them, too.
        """
        hidden, cells = self._hidden(square, stride=stride)[1:], -(-self.run.side // stride)
        known = np.zeros((cells, cells), bool)
        if stride == stride_for(self.run.side):
            known[np.ix_(self._checked, self._checked)] = True
        step = -(-cells // COARSE)
        nearest = np.minimum(np.arange(cells) // step * step + step // 2, cells - 1)
        coarse = np.zeros((cells, cells), bool)
        coarse[np.ix_(nearest, nearest)] = True
        both, alone = coarse & ~known, ~coarse & ~known
        shown = [self._as_trained, *beside]
        tasks = [(shown, hidden[both.ravel()]), (shown[:1], hidden[alone.ravel()])]
        tested, moved, of_both, of_own = self.risks([*self._tests(square), *tasks])
        whole, changes = tested[0, : len(shown)], _changes(tested)
        maps = np.empty((cells, cells, len(shown)))
        maps[both] = whole - of_both
        maps[alone, 0] = whole[0] - of_own[:, 0]
        maps[known] = changes[: known.sum(), : len(shown)]
        maps[..., 1:] = maps[np.ix_(nearest, nearest)][..., 1:]
        check = self._judged(changes, _changes(moved))
        return float(whole[0]), maps, replace(check, **_on_marks(maps[..., 0], square, stride=stride))

    def _tests(self, square: Images) -> list[Task]:
        """What a check needs: every version on the image, the trained model on the image as it was moved."""
        moved = self._hidden(move(square, SHIFT), cells=self._checked, shift=SHIFT)
        return [
            (self._versions, self._hidden(square, cells=self._checked)),
            ([self._as_trained], moved),
        ]

    def _judged(self, tested: Floats, moved: Floats) -> MapCheck:
        own, *others = tested.T
        randomised, members = others[: len(self._randomised)], others[len(self._randomised) :]
        return MapCheck(
            agreement=_mean([abs(rank_correlation(own, each)) for each in randomised]),
            stability=rank_correlation(own, moved[:, 0]),
            seeds=_mean([rank_correlation(*pair) for pair in combinations(members, 2)]),
        )

    def _hidden(self, square: Images, *, stride: int | None = None, **which: Any) -> Images:
        """The image, and after it the image with each patch hidden, shape (1 + patches, side, side)."""
        side = self.run.side
        patches = occlude(square, patch=patch_for(side), stride=stride or stride_for(side), **which)
        return np.concatenate([square[None], patches])

    @cached_property
    def _checked(self) -> NDArray[np.int64]:
        """Which cells of each row and column of a map are compared with those of other maps."""
        cells = -(-self.run.side // stride_for(self.run.side))
        return ((2 * np.arange(CHECKED) + 1) * cells - CHECKED) // (2 * CHECKED)

    @property
    def _threshold(self) -> float | None:
        model, threshold = self.run.primary or ("", nan)
        own = threshold if model == self.model else self.run.threshold_of(self.model)
        return None if isnan(own) else own

    @cached_property
    def _as_trained(self) -> Version:
        return {name: _members_of(model) for name, model in self.run.models.items()}

    @cached_property
    def _randomised(self) -> list[Version]:
        """For each draw the model with all its weights shuffled; empty where none can be."""
        return [version for seed in range(DRAWS) if (version := _shuffled(self.run.models, seed=seed))]

    @property
    def _versions(self) -> list[Version]:
        return [self._as_trained, *self._randomised, *self._members]

    @cached_property
    def _members(self) -> list[Version]:
        """The model with each single member of its ensemble in place of the whole ensemble."""
        ensembles = {name: members for name, members in self._as_trained.items() if len(members) > 1}
        return [
            {**self._as_trained, name: (member,)} for name, members in ensembles.items() for member in members
        ]

    def _score(self, versions: Sequence[Version], chunk: Images) -> Floats:
        views, known = self._views(chunk), _Known()
        found = []
        for version in versions:
            risks = {
                name: mean_of(
                    [known.risk(members, views[each]) for each in self.run.views[name] if each in views]
                )
                for name, members in version.items()
            }
            found.append(final_risks(self.run, [risks])[self.model])
        return np.stack(found, axis=1)

    def _views(self, chunk: Images) -> dict[str, View]:
        if not self.matching or self.run.reference is None:
            return {ORIGINAL: View(chunk)}
        grey = self.run.reference.novelty.grey
        return {name: external_view(chunk, name, grey) for name in MIRRORED}


class _Known:
    """Risks of one chunk, so that what several versions of a model share is computed once."""

    def __init__(self) -> None:
        self._risks: dict[tuple[int, int], Floats] = {}
        self._similarities: dict[tuple[int, int], Floats] = {}

    def risk(self, members: Members, view: View) -> Floats:
        """The mean risk of the members, as an ensemble gives it."""
        return np.asarray(np.mean([self._of(member, view) for member in members], axis=0))

    def _of(self, member: Classifier, view: View) -> Floats:
        key = (id(member), id(view))
        if key not in self._risks:
            self._risks[key] = checked_risk(self._computed(member, view))
        return self._risks[key]

    def _computed(self, member: Classifier, view: View) -> Floats:
        """The risk; kernel machines with the same support vectors share the kernel."""
        if not isinstance(member, ScatteringModel | TransferModel):
            return member.risk(view)
        machine = member.machine
        key = (id(machine.support_vectors), id(view))
        if key not in self._similarities:
            self._similarities[key] = machine.similarity(member.features(view))
        return machine.risk_by(self._similarities[key])


def explainer(run: StoredRun, model: str | None = None, *, matching: bool = True) -> Explainer:
    """One model of a run, by default the primary one, ready to map images.

    Raises
    ------
    InputError : the run has no such model, or one that could not be stored.
    """
    name = model or run.main[0]
    if name in run.not_stored:
        raise InputError(
            f"A map needs a stored model to ask; {name} could not be stored ({run.not_stored[name]}). "
            f"Choose another with {option('--model')}: {', '.join(run.names)}."
        )
    if name not in run.names:
        raise InputError(f"{option('--model')} needs one of {', '.join(run.names)}; got {name!r}.")
    narrowed = _narrowed(run, name)
    if narrowed.in_colour:
        raise InputError(f"A map covers parts of grey images; {name} takes images in colour, so has none.")
    return Explainer(narrowed, name, matching)


def occlude(
    image: Images,
    *,
    patch: int,
    stride: int = 1,
    shift: tuple[int, int] = (0, 0),
    cells: NDArray[np.int64] | None = None,
) -> Images:
    """The image with each patch in turn replaced by its mean grey level, shape (patches, height, width).

    A patch is centred at its cell, as far as whole pixels go; cells are taken row by row. Occlusion: Zeiler
    and Fergus 2014, doi:10.1007/978-3-319-10590-1_53.

    Parameters
    ----------
    image : grey levels, uint8, shape (height, width).
    patch, stride : pixels a side of a patch, and from one cell to the next; at the edges patches are cut off.
    shift : rows and columns by which all patches are moved, for an image that was moved by as much.
    cells : numbers of those of each row and column that are hidden in turn; by default all.

    >>> image = np.array([[0, 0], [0, 200]], np.uint8)
    >>> occlude(image, patch=1)[3].tolist()
    [[0, 0], [0, 50]]
    """
    if patch < 1 or stride < 1:
        raise ValueError(f"expected a patch and a stride of at least 1 pixel, got {patch} and {stride}")
    (top, height), (left, width) = ((shift[axis], image.shape[axis]) for axis in (0, 1))
    fill = np.uint8(np.rint(image.mean()))
    rows = _hidden(height, patch=patch, stride=stride, shift=top)
    columns = _hidden(width, patch=patch, stride=stride, shift=left)
    if cells is not None:
        rows, columns = rows[cells], columns[cells]
    hidden = rows[:, None, :, None] & columns[None, :, None, :]
    return np.where(hidden, fill, image).reshape(-1, height, width)


def _hidden(length: int, *, patch: int, stride: int, shift: int) -> NDArray[np.bool_]:
    """Which places of a line each patch hides, bool, shape (cells, length)."""
    first = np.arange(0, length, stride)[:, None] + (stride - patch) // 2 + shift
    places = np.arange(length)
    return (places >= first) & (places < first + patch)


def stride_for(side: int) -> int:
    """Pixels from one cell of a map to the next, for images of that many pixels a side."""
    return 1 if side <= FINE else -(-side // COARSE)


def patch_for(side: int) -> int:
    """Pixels a side of a patch: 5 of 28."""
    return max(1, round(side * PATCH))


def move(image: Images, shift: tuple[int, int]) -> Images:
    """The image moved down and to the right by so many pixels, its edges repeated."""
    rows, columns = (np.arange(side) - by for side, by in zip(image.shape, shift, strict=True))
    return image[np.clip(rows, 0, None)[:, None], np.clip(columns, 0, None)]


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation of two maps, -1 to 1; NaN where one of them is constant."""
    first, second = (rankdata(each.ravel()) - (each.size + 1) / 2 for each in (one, other))
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale > 0 else nan


def _narrowed(run: StoredRun, name: str) -> StoredRun:
    """The run with nothing but what one model is made of."""
    parts = {name: run.parts[name]} if name in run.parts else {}
    needed = set(parts.get(name, (name,)))
    return replace(
        run,
        models={each: model for each, model in run.models.items() if each in needed},
        parts=parts,
        adopted={each: fit for each, fit in run.adopted.items() if each == name or each in needed},
    )


def _members_of(model: Classifier) -> Members:
    return model.members if isinstance(model, Networks) else (model,)


def _cascade(models: Mapping[str, Classifier], *, seed: int) -> tuple[tuple[str, Version], ...]:
    """All models shuffled step by step together; one of fewer steps stays at its last."""
    steps = {name: cascade(model, seed=seed) for name, model in models.items()}
    if not all(steps.values()):
        return ()
    longest = max(steps.values(), key=len)
    return tuple(
        (layer, {name: _members_of(own[min(place, len(own) - 1)][1]) for name, own in steps.items()})
        for place, (layer, _) in enumerate(longest)
    )


def _shuffled(models: Mapping[str, Classifier], *, seed: int) -> Version:
    """All models with all their weights shuffled; empty where one has none that can be."""
    found = {name: randomised(model, seed=seed) for name, model in models.items()}
    whole = {name: _members_of(model) for name, model in found.items() if model is not None}
    return whole if len(whole) == len(found) else {}


def _changes(risks: Floats) -> Floats:
    """The first image's risks less those of the images after it."""
    return np.asarray(risks[0] - risks[1:])


def _mean(values: Sequence[float]) -> float:
    """The mean of those that are defined; NaN where none is."""
    defined = [value for value in values if not isnan(value)]
    return float(np.mean(defined)) if defined else nan


def _on_marks(found: Floats, square: Images, *, stride: int) -> dict[str, float]:
    """The share of a map, and of its cells, that lies on text or marks burnt in."""
    strokes = stroke_pixels(square)
    total = float(np.abs(found).sum())
    if not strokes.any() or total == 0:
        return {}
    cells = np.zeros(found.shape, bool)
    rows, columns = np.nonzero(strokes)
    cells[rows // stride, columns // stride] = True
    return {"marks": float(np.abs(found[cells]).sum() / total), "marks_area": float(cells.mean())}


SAMPLE, SAMPLE_OF_LARGE = 8, 3  # test images, at even intervals, whose maps a run checks
MOST_MISSED, MOST_MISSED_OF_LARGE = 6, 3  # missed cases whose maps a run keeps; both take some seconds
MISSED_CELLS = 14  # a side, of these maps


def explain(
    results: Path | str,
    sources: Sequence[Path | str],
    *,
    out: Path,
    model: str | None = None,
    fit: str = AS_TRAINED,
    bits: int = DEEP,
    matching: bool = True,
    progress: Progress | None = None,
) -> tuple[Explanation, ...]:
    """Map what the risk of image files depends on, check each map, and write a picture and a JSON of each.

    Of an upright image the square that ``fit`` names is mapped, and its risk is that of this square alone.

    Parameters
    ----------
    results : folder of ``clineval run``; or ``model.onnx`` with ``model.json`` beside it.
    sources, fit, bits, matching : as for ``clineval.predict``.
    out : folder for NAME_map.png and NAME_map.json; made where it is not there.
    model : of the run; its primary one by default.
    progress : called with (images done, images in all).

    Raises
    ------
    InputError : the run is incomplete or has no such stored model, a source is missing or cannot be read, or
        ``out`` is no folder to write to.
    """
    from clineval.reporting.maps import write_explanation

    run = read_run(Path(results))
    ready = explainer(run, model, matching=matching)
    files = find_images(sources).images
    stems = _stems([name for _, name in files])
    images = {path.resolve() for path, _ in files}
    _check_out(out, stems, results=Path(results), sources=sources, images=images)
    read, found = read_to_map(ready, files, fit=fit, bits=bits), []
    for stem, (told, square) in zip(stems, read, strict=True):
        each = as_predicted(ready.explain(square, image=told.image), told)
        record = {**each.to_json(), "layers": _for_json(ready.down_the_layers(square))}
        write_answer(json_text(record), out / f"{stem}.json")
        try:
            write_explanation(each, out / f"{stem}.png")
        except OSError as error:
            raise unwritable(out, error) from error
        found.append(each)
        if progress is not None:
            progress(len(found), len(files))
    return tuple(found)


def write_test_maps(
    folder: Path, cohort: Cohort, *, table: pd.DataFrame, evaluation: Evaluation
) -> CheckedMaps | None:
    """Check maps of test images for a run that is being made and write ``maps.json``.

    None, and no file, where the primary model has no stored form, no threshold or no test images, or takes
    images in colour.
    """
    run, primary = read_unsealed(folder), evaluation.primary
    scores = None if primary is None else evaluation.models[primary.model].get("test")
    point = None if scores is None else main_point(scores, primary)
    if run is None or run.primary is None or point is None:
        return None
    wrong = failures(table, point, model=run.primary[0], population="test").cases
    maps = check_test_maps(run, cohort, missed=[str(case) for case in wrong["case"][wrong["outcome"] == 1]])
    if maps is not None:
        write_maps(folder, maps)
    return maps


def check_test_maps(run: StoredRun, cohort: Cohort, *, missed: Sequence[str]) -> CheckedMaps | None:
    """How the primary model's maps fare on test images at even intervals, and the maps of missed cases.

    As the test images were scored: without matching, on views of development.

    Parameters
    ----------
    missed : test cases that the primary model missed, the worst first.
    """
    test = np.flatnonzero(cohort.within("test"))
    if run.primary is None or not len(test) or run.primary[0] in run.in_colour:
        return None
    small = run.side <= FINE
    most, sample = (MOST_MISSED, SAMPLE) if small else (MOST_MISSED_OF_LARGE, SAMPLE_OF_LARGE)
    ready = explainer(run, matching=False)
    some = evenly_spaced(len(test), sample)
    row_of = {str(cohort.case[row]): row for row in test}
    return CheckedMaps(
        ready.model,
        len(test),
        tuple(ready.check(cohort.images[row]) for row in test[some]),
        {
            case: ready.checked_map(cohort.images[row_of[case]], stride=-(-run.side // MISSED_CELLS))
            for case in [case for case in missed if case in row_of][:most]
        },
    )


def read_to_map(
    ready: Explainer, files: Sequence[tuple[Path | HeldFile, str]], *, fit: str, bits: int
) -> list[tuple[Prediction, Images]]:
    """What ``clineval predict`` says of each image file, and its square.

    Raises
    ------
    InputError : a file cannot be used.
    """
    squares: dict[int, Images] = {}
    told = predict_files(
        ready.run,
        files,
        fit=fit,
        bits=bits,
        matching=ready.matching,
        seen=lambda place, _, square: squares.update({place: square}),
    )
    return [(each, squares[place]) for place, each in enumerate(told)]


def as_predicted(found: Explanation, told: Prediction) -> Explanation:
    """A map with the risk and the warnings that ``clineval predict`` gives of its image."""
    warnings = {each.code: each.text for each in told.warnings}
    return replace(found, predicted=told.risk[found.model], warnings=warnings)


def _stems(names: Sequence[str]) -> list[str]:
    """What the files of each image are called, each name once."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", PurePosixPath(name).with_suffix("").as_posix()).strip("._")
        stem = f"{plain[-80:] or 'image'}_map"
        same = sum(each == stem or each.startswith(f"{stem}-") for each in found)
        found.append(f"{stem}-{same + 1}" if same else stem)
    return found


def _check_out(
    out: Path, stems: Sequence[str], *, results: Path, sources: Sequence[Path | str], images: Set[Path]
) -> None:
    """Refuse, before any image is scored, a folder that cannot be written or holds what is read."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{option('--out')} needs a folder for the maps; {out} is a file.")
    for stem in stems:
        check_answer(out / f"{stem}.json", results=results, sources=list(map(Path, sources)))
        picture = out / f"{stem}.png"
        if picture.is_symlink() or (picture.exists() and not picture.is_file()):
            raise InputError(f"{picture} is in the way of a map's picture; choose another --out.")
        if picture.resolve() in images:
            raise InputError(f"{picture} is one of the images; choose another --out.")


def _for_json(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if isnan(value) else round(value, 4) for name, value in numbers.items()}
