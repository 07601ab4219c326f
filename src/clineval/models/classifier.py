"""What a classifier is: learnt from images and outcomes, stored without code, asked for risks.

``BUILT_IN`` is the one place where a name leads to a model; ``KINDS`` has those that users give, too. A
kind is learnt by ``fit`` from a lesson, is then a :class:`Stored` form, and what ``read`` makes of that
form gives every risk: those of a run's table, out of fold and on the test split, as those of ``clineval
predict`` years later. At one more site its last layer may be refitted on local images.

Shuffled weights, to which maps are held, keep their distribution, so that risks do not saturate. Adebayo J
et al. (2018) Sanity checks for saliency maps, arXiv:1810.03292.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from clineval.data.cohort import Cohort
from clineval.errors import InputError, reason_of
from clineval.models import (
    logistic,
    network,
    onnx_graph,
    onnx_model,
    scattering,
    svm,
    transfer,
    user_model,
    user_worker,
)
from clineval.models.logistic import LogisticModel
from clineval.models.network import BLOCKS, Network, Networks
from clineval.models.onnx_model import OnnxModel, frozen_model
from clineval.models.preprocessing import MATCHED, ORIGINAL, Images, View, learn_pixel_scaling, scale_pixels
from clineval.models.scattering import ScatteringModel, scattering_features
from clineval.models.stored import (
    Arrays,
    Floats,
    Shapes,
    Stored,
    read_arrays,
    read_record,
    require_shapes,
    write_model,
)
from clineval.models.transfer import TransferModel
from clineval.models.user_model import Learnt, callable_model, python_model
from clineval.settings import GivenModel, TrainingSettings

MOST_PIXELS_A_SIDE = 1024  # of the images that a stored model takes
NETWORK_LAYERS = ("head", *(f"blocks.{number}" for number in reversed(range(BLOCKS))), "stem")
NORMALISATION = ("weight", "bias", "running_mean", "running_var")
GRAPH_STAGES = 4  # of a user's graph: its uppermost quarter of layers, half, and so on
MOST_LOCAL = 1000  # images for a head: the kernel and the time grow with their square and cube
Record = Mapping[str, Any]
PLATT = "its Platt scaling, learnt out of fold, is part of the model"


class Classifier(Protocol):
    """A model ready to be asked; safe to be asked by many threads at once."""

    def risk(self, view: View) -> Floats:
        """Risk of each image of a view, float64, shape (cases,), before any recalibration.

        An image's risk is the same to the last bit alone and among others.
        """
        ...


@dataclass(frozen=True)
class Lesson:
    """What one training learns from, and how.

    Attributes
    ----------
    view, outcome, group : the training cases; cases that are not independent share a group.
    settings : of this kind of model, as ``Kind.settings`` picks them.
    fold : number of the fold that was left out; -1 where none was.
    watched, watched_outcome : cases whose loss may end the training early and that nothing is learnt from;
        none of them for no early stopping. ``strict`` : always keep the moment of smallest loss.
    device : cpu, cuda or mps, for kinds that learn on one.
    """

    view: View
    outcome: NDArray[np.bool_]
    group: NDArray[np.str_]
    settings: Any
    seed: int
    fold: int
    watched: View
    watched_outcome: NDArray[np.bool_]
    strict: bool
    device: str


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    Attributes
    ----------
    settings : picks this kind's settings from those of a run.
    fit : learns from a lesson; the same lesson gives the same bytes.
    shapes : the arrays of the stored form by its record and the images' height and width in pixels.
    read : the classifier of a stored form. It and ``shapes`` raise KeyError, TypeError or ValueError where
        the record is not one of this kind.
    views : of an external image, over whose risks the mean is taken on the logit scale.
    join : makes an ensemble of fold members; None for a kind that is learnt once from the whole split.
    seeded : whether the seed changes more than the folds that choose a penalty or a slope.
    left_as_it_is : why its risks are never recalibrated; None where out-of-fold risks decide that.
    check : raises InputError, before anything is trained, for images of that height and width in pixels
        or a machine on which this kind cannot be learnt.
    at_once : learns from the whole training split and from its folds in one go, or scores what was learnt
        elsewhere, in place of ``fit``.
    learns : False for a model that was trained elsewhere, which has no out-of-fold risks.
    """

    settings: Callable[[TrainingSettings], Any]
    fit: Callable[[Lesson], Stored]
    shapes: Callable[[Record, int, int], Shapes]
    read: Callable[[Record, Arrays], Classifier]
    views: tuple[str, ...] = (ORIGINAL,)
    join: Callable[[Sequence[Stored]], Stored] | None = None
    seeded: bool = False
    left_as_it_is: str | None = None
    check: Callable[[int, int], None] = lambda height, width: None
    learns: bool = True
    at_once: Callable[..., Learnt] | None = None


def _fit_logistic(lesson: Lesson) -> Stored:
    return logistic.fit(
        lesson.view.images, lesson.outcome, lesson.group, settings=lesson.settings, seed=lesson.seed
    )


def _fit_scattering(lesson: Lesson) -> Stored:
    return scattering.fit(
        lesson.view, lesson.outcome, lesson.group, settings=lesson.settings, seed=lesson.seed
    )


def _fit_transfer(lesson: Lesson) -> Stored:
    return transfer.fit(lesson.view, lesson.outcome, lesson.group, settings=lesson.settings, seed=lesson.seed)


def _fit_network(lesson: Lesson) -> Stored:
    from clineval.models import network_training  # torch: for training only

    watched = network_training.Watched(lesson.watched.images, lesson.watched_outcome)
    return network_training.fit(
        lesson.view.images,
        lesson.outcome,
        settings=lesson.settings,
        seed=lesson.seed,
        fold=lesson.fold,
        watched=watched if len(lesson.watched) else None,
        strict=lesson.strict,
        device=lesson.device,
    )


def _refuse_lesson(lesson: Lesson) -> Stored:
    raise ValueError("a model of the user's learns from the split and its folds at once, or not at all")


def _score_frozen(frozen: onnx_model.FrozenModel, images: Images, *_: Any, train: Any, **__: Any) -> Learnt:
    """A model that was trained elsewhere, and its risks of all images within the time that it has."""
    stored = onnx_model.fit(frozen)
    named = f"Model {frozen.name}"
    model = replace(onnx_model.read(stored.record, stored.arrays), name=named)
    with onnx_model.scored_within(frozen.timeout, frozen.name):
        risk = model.risk(View(images))
    try:
        user_worker.refuse_uninformative(risk)
    except user_worker.Unfit as error:
        raise InputError(f"{named} {error}; is its record, which says how images go in, right?") from error
    return Learnt(stored, risk, np.full(len(train), np.nan))


BUILT_IN: Mapping[str, Kind] = {
    "logreg": Kind(
        settings=lambda training: training.logistic,
        fit=_fit_logistic,
        shapes=logistic.shapes,
        read=logistic.read,
        views=(ORIGINAL, MATCHED),
    ),
    "cnn": Kind(
        settings=lambda training: training.network,
        fit=_fit_network,
        shapes=network.shapes,
        read=network.read,
        views=(ORIGINAL, MATCHED),
        join=network.join,
        seeded=True,
        left_as_it_is=(
            "its out-of-fold risks are those of single members, the final risk is their mean: "
            "a recalibration fitted on members would over-soften the mean"
        ),
    ),
    "scattering": Kind(
        settings=lambda training: training.scattering,
        fit=_fit_scattering,
        shapes=scattering.shapes,
        read=scattering.read,
        left_as_it_is=PLATT,
    ),
    "transfer": Kind(
        settings=lambda training: transfer.MACHINE,
        fit=_fit_transfer,
        shapes=transfer.shapes,
        read=transfer.read,
        views=(ORIGINAL, MATCHED),
        left_as_it_is=PLATT,
        check=transfer.check_trainable,
    ),
}
KINDS: Mapping[str, Kind] = {
    **BUILT_IN,
    "onnx": Kind(
        settings=lambda training: None,
        fit=_refuse_lesson,
        at_once=_score_frozen,
        shapes=onnx_model.shapes,
        read=onnx_model.read,
        left_as_it_is="it was trained elsewhere and is scored as it is",
        learns=False,
    ),
    "python": Kind(
        settings=lambda training: None,
        fit=_refuse_lesson,
        shapes=user_model.refuse,
        read=user_model.refuse,
        at_once=user_model.train,
        seeded=True,
    ),
}

COMBINED = ("cnn", "scattering")  # whose mean on the logit scale is the model combined: docs/training.md
BESIDE = "transfer"  # where it is trained, combined is two thirds this and one third what it is without


def parts_of_combined(trained: Sequence[str]) -> tuple[str, ...]:
    """The models whose mean on the logit scale is ``combined``; none where it lacks one of its own.

    A model that counts for more stands in it more than once.

    >>> parts_of_combined(["logreg", "cnn", "scattering"])
    ('cnn', 'scattering')
    >>> parts_of_combined(["cnn", "scattering", "transfer"])
    ('cnn', 'scattering', 'transfer', 'transfer', 'transfer', 'transfer')
    """
    if not set(COMBINED) <= set(trained):
        return ()
    return (*COMBINED, *([BESIDE] * (2 * len(COMBINED)) if BESIDE in trained else ()))


@dataclass(frozen=True)
class Given:
    """A model that the user gave, ready to be trained or scored.

    Attributes
    ----------
    about : what provenance and ledger say of it.
    kind : of ``KINDS``; ``settings`` are that kind's.
    call : the factory itself where no file leads to it: it is called in this process alone.
    """

    about: GivenModel
    kind: str
    settings: Any
    call: user_model.Factory | None = None

    @property
    def name(self) -> str:
        """The name that its risks go by."""
        return self.about.name


@dataclass(frozen=True)
class ReadModel:
    """A stored model read back; ``image`` is the height and width in pixels of the images that it takes."""

    kind: Kind
    classifier: Classifier
    image: tuple[int, int]


def read_model(folder: Path, name: str) -> ReadModel:
    """Read ``NAME.json`` and ``NAME.safetensors`` of a folder, from any source: nothing in them runs.

    Raises
    ------
    InputError : a file is missing or damaged, of another kind, or its arrays do not fit its record.
    """
    path = folder / f"{name}.json"
    record = read_record(path)
    try:
        kind, (height, width) = KINDS[record["kind"]], map(_side, record["image"])
        expected = kind.shapes(record, height, width)
        arrays, _ = read_arrays(path.with_suffix(".safetensors"))
        require_shapes(path.with_suffix(".safetensors"), arrays, expected)
        return ReadModel(kind, kind.read(record, arrays), (height, width))
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(
            f"{path} is not the record of a model that this version reads ({reason_of(error)}); train again."
        ) from error


def risk_of(classifier: Classifier, view: View) -> Floats:
    """Risk of each image, shape (cases,), some dozens at a time.

    Raises
    ------
    InputError : a risk is not a number from 0 to 1.
    """
    risks = [checked_risk(classifier.risk(part)) for part in view.chunks()]
    return np.concatenate([np.empty(0), *risks])


def checked_risk(risk: Floats) -> Floats:
    """The risks themselves, refused where any is not a number from 0 to 1.

    Raises
    ------
    InputError : as above; a risk that is not a number must not pass for one below the threshold.
    """
    if not ((risk >= 0) & (risk <= 1)).all():
        raise InputError("A model gave a risk that is not a number from 0 to 1; train it again.")
    return risk


def mean_of(risks: Sequence[Floats]) -> Floats:
    """The mean of several risks of the same cases on the logit scale, shape (cases,)."""
    return risks[0] if len(risks) == 1 else expit(np.mean([logit(risk) for risk in risks], axis=0))


def _side(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PIXELS_A_SIDE:
        raise ValueError(f"images of {value!r} pixels a side")
    return value


ModelSource = str | Callable[[int], Any]


def given_model(
    name: str, source: ModelSource, cohort: Cohort, *, timeout: float, check_seed: bool = False
) -> Given:
    """The model that the user calls ``name``; checked against the cohort, nothing of it imported.

    Parameters
    ----------
    source : ``FILE.onnx``, ``FILE.py:FACTORY``, ``package.module:FACTORY``, or the factory itself.
    timeout : seconds that one training of a Python model may take, and the scoring of all images by a graph.
    check_seed : train the first fold of a Python model twice, to see that its seed gives the same risks.

    Raises
    ------
    InputError : there is no such file, or an ONNX file does not fit the record beside it or the cohort.
    """
    if isinstance(source, str) and source.lower().endswith(".onnx"):
        side, path = cohort.images.shape[1], Path(source)
        frozen = frozen_model(name, path, side=side, condition=cohort.condition, timeout=timeout)
        return Given(GivenModel(name, path.name, frozen.sha256), "onnx", frozen)
    if isinstance(source, str):
        made, call = python_model(name, source, timeout=timeout, check_seed=check_seed), None
    else:
        made, leads_to_it = callable_model(name, source, timeout=timeout, check_seed=check_seed)
        call = None if leads_to_it else source
    about = GivenModel(name, Path(made.path).name or None, made.sha256 or None, made.factory)
    return Given(about, "python", made, call)


def ready(given: Sequence[Given]) -> AbstractContextManager[None]:
    """While its block runs, what the files of the user's Python models import is loaded once for all."""
    apart = [model.settings for model in given if model.kind == "python" and model.call is None]
    return user_model.ready(apart)


@dataclass(frozen=True)
class NewHead:
    """A head on the kernel of local images: log odds = kept + intercept + kernel @ ``weight``.

    ``weight`` has shape (cases,). ``kept`` are intercept and slope of the frozen model's recalibration,
    where its log odds stay; None where the head starts from nothing. ``penalty`` is for the record.
    """

    weight: Floats
    intercept: float
    penalty: float
    kept: tuple[float, float] | None


def has_head(model: Classifier) -> bool:
    """Whether the last layer of a model can be refitted."""
    return isinstance(model, LogisticModel | TransferModel)


def head_features(model: Classifier, views: Sequence[View]) -> list[Floats]:
    """What the head sees of the same images in each view, each of shape (cases, features)."""
    if isinstance(model, LogisticModel):
        return [scale_pixels(view.images, model.scaling) for view in views]
    if isinstance(model, TransferModel):
        return [model.machine.standardised(model.features(view)) for view in views]
    raise ValueError(f"a {type(model).__name__} has no head to refit")


def head_kernel(model: Classifier, features: Sequence[Floats]) -> Floats:
    """How alike the images are to the head, shape (cases, cases): the mean over all pairs of their views.

    Of logistic regression the product of their scaled pixels over the number of pixels; of a kernel machine
    its kernel.
    """
    if isinstance(model, LogisticModel):
        mean = np.mean(features, axis=0)
        return np.asarray(mean @ mean.T / mean.shape[1])
    assert isinstance(model, TransferModel)
    kernel = np.mean([model.machine.kernel(one, other) for one in features for other in features], axis=0)
    return np.asarray((kernel + kernel.T) / 2)


def write_refitted(
    model: Classifier,
    features: Sequence[Floats],
    head: NewHead,
    folder: Path,
    name: str,
) -> None:
    """Write the model with its new head over the stored one; its risks need no recalibration any more."""
    path = folder / f"{name}.json"
    record = {key: value for key, value in read_record(path).items() if key not in ("format", "model")}
    arrays, _ = read_arrays(path.with_suffix(".safetensors"))
    about = {"head": {"cases": len(head.weight), "penalty": head.penalty, "kept": head.kept}}
    make = _linear_head if isinstance(model, LogisticModel) else _machine_head
    stored = make(model, features, head)
    write_model(Stored({**record, **stored.record, **about}, {**arrays, **stored.arrays}), folder, name)


def _linear_head(model: Classifier, features: Sequence[Floats], head: NewHead) -> Stored:
    assert isinstance(model, LogisticModel)
    mean = np.mean(features, axis=0)
    coefficients, intercept = mean.T @ head.weight / mean.shape[1], head.intercept
    if head.kept is not None:
        coefficients = coefficients + head.kept[1] * model.coefficients
        intercept += head.kept[0] + head.kept[1] * model.intercept
    arrays: Arrays = {"coefficients": coefficients, "intercept": np.array([intercept])}
    return Stored({}, arrays)


def _machine_head(model: Classifier, features: Sequence[Floats], head: NewHead) -> Stored:
    assert isinstance(model, TransferModel)
    machine = model.machine
    vectors = np.concatenate([each.astype(np.float32) for each in features])
    dual, intercept = np.tile(head.weight / len(features), len(features)), head.intercept
    if head.kept is not None:
        vectors = np.concatenate([machine.support_vectors, vectors])
        dual = np.concatenate([head.kept[1] * machine.slope * machine.dual, dual])
        intercept += head.kept[0] + head.kept[1] * (
            machine.slope * machine.intercept + machine.platt_intercept
        )
    refitted = replace(
        machine,
        support_vectors=vectors,
        dual=dual,
        intercept=intercept,
        slope=1.0,
        platt_intercept=0.0,
    )
    return svm.stored(refitted)


def standardised_by(model: Classifier, images: Images) -> Classifier | None:
    """The model with its features standardised by these images instead of those of training; None without.

    Such a risk depends on the images beside it: a batch's, not one image's.
    """
    if isinstance(model, LogisticModel):
        return replace(model, scaling=learn_pixel_scaling(images, learnt_on="external"))
    if isinstance(model, ScatteringModel):
        return replace(model, machine=model.machine.scaled_by(scattering_features(images)))
    if isinstance(model, TransferModel):
        return replace(model, machine=model.machine.scaled_by(model.features(View(images))))
    return None


Stages = tuple[tuple[str, Classifier], ...]


@singledispatch
def randomised(model: Classifier, *, seed: int) -> Classifier | None:
    """The model with all its learnt weights shuffled; None where it has none that can be."""
    stages = cascade(model, seed=seed)
    return stages[-1][1] if stages else None


@randomised.register
def _whole_graph(model: OnnxModel, *, seed: int) -> OnnxModel | None:
    layers = onnx_graph.count_layers(model.graph.content)
    return _with_shuffled(model, layers, seed) if layers else None


@singledispatch
def cascade(model: Classifier, *, seed: int) -> Stages:
    """The model with ever more of its weights shuffled, from the top; the last has all shuffled.

    A network's layers are shuffled one after the other from the output down. Kernel machines have their
    dual coefficients shuffled, as if labels had been; a logistic regression its coefficients: one stage.
    Each stage goes by the name of the layer that was shuffled last. Empty where there is nothing to shuffle.
    """
    raise TypeError(f"expected a stored model, got {type(model).__name__}")


@cascade.register
def _logistic(model: LogisticModel, *, seed: int) -> Stages:
    shuffled = np.random.default_rng(seed).permutation(model.coefficients)
    return (("coefficients", replace(model, coefficients=shuffled)),)


@cascade.register(ScatteringModel)
@cascade.register(TransferModel)
def _kernel_machine(model: ScatteringModel | TransferModel, *, seed: int) -> Stages:
    dual = np.random.default_rng(seed).permutation(model.machine.dual)
    return (("dual coefficients", replace(model, machine=replace(model.machine, dual=dual))),)


@cascade.register
def _networks(model: Networks, *, seed: int) -> Stages:
    rng = np.random.default_rng(seed)
    whole = [Network(_shuffled(member.weights, rng), member.mean, member.sd) for member in model.members]

    def down_to(layer: int) -> Networks:
        return Networks(
            tuple(
                replace(
                    member, weights=_with_layers(member.weights, each.weights, NETWORK_LAYERS[: layer + 1])
                )
                for member, each in zip(model.members, whole, strict=True)
            )
        )

    return tuple((name, down_to(layer)) for layer, name in enumerate(NETWORK_LAYERS))


@cascade.register
def _graph(model: OnnxModel, *, seed: int) -> Stages:
    layers = onnx_graph.count_layers(model.graph.content)
    ends = sorted({-(-layers * stage // GRAPH_STAGES) for stage in range(1, GRAPH_STAGES + 1)} - {0})
    return tuple((f"{end} of {layers} layers", _with_shuffled(model, end, seed)) for end in ends)


def _with_shuffled(model: OnnxModel, layers: int, seed: int) -> OnnxModel:
    content = onnx_graph.shuffle_layers(model.graph.content, layers=layers, seed=seed)
    return replace(model, graph=onnx_graph.open_given_graph(content))


def _shuffled(weights: Mapping[str, NDArray[np.float32]], rng: np.random.Generator) -> dict[str, Any]:
    """All of a network's arrays shuffled; those of one normalisation stay together, channel by channel.

    In the order of their names: a file's arrays are read in another order each time.
    """
    found: dict[str, Any] = {}
    for name, values in sorted(weights.items()):
        if name in found:
            continue
        norm = list(_normalisation(name, weights))
        if norm:
            order = rng.permutation(len(values))
            found |= {each: weights[each][order] for each in norm}
        else:
            found[name] = rng.permutation(values.ravel()).reshape(values.shape)
    return found


def _normalisation(name: str, weights: Mapping[str, Any]) -> Iterator[str]:
    """The four arrays of the normalisation that this one belongs to; none where it belongs to none."""
    layer = name.rpartition(".")[0]
    if f"{layer}.running_var" in weights:
        yield from (f"{layer}.{part}" for part in NORMALISATION)


def _with_layers(
    weights: Mapping[str, Any], shuffled: Mapping[str, Any], layers: Sequence[str]
) -> dict[str, Any]:
    return {
        name: shuffled[name] if name.startswith(tuple(layers)) else values for name, values in weights.items()
    }
