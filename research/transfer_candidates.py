"""Does `transfer` travel better learnt, read or mixed otherwise? The candidates of plan_external.md.

Folds, shifts and score are those of research/README.md, near-duplicates those found at 224 pixels: train +
val of BreastMNIST alone. The score is that of `combined` with `transfer`; `alone` is that of `transfer`.

    CLINEVAL_DATA=FOLDER python research/transfer_candidates.py --keep FOLDER [--views NAME...] [--jobs 2]

Needs breastmnist.npz, breastmnist_224.npz and the extra `transfer`. Trainings and features are kept in
--keep (4 GB) and not made again; candidates that need a view not named in --views are left out. Writes
transfer_choices.csv: for every candidate and drawing of the folds the score, its parts and its gain, that
of `transfer` alone, and clean images as stored, seen once (`once`), with what changes there (difference,
95 % interval from 1,000 resamples of groups).
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import transfer_features as kept
from numpy.typing import NDArray
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits
from transport_models import Fold, Indices, Training, conditions, mean_risk, trained_folds
from transport_scores import Bench, auc, fold_auc, log_odds, scores

from clineval.data import medmnist
from clineval.data.audit import audit
from clineval.data.cohort import Cohort, grouped_folds
from clineval.models import svm
from clineval.models.preprocessing import MATCHED, ORIGINAL, external_view

RECORD = Path(__file__).with_name("transfer_choices.csv")
REPEATS = (0, 1)
DRAWS = 1000
PRODUCT_VIEWS = (("as stored",), ("matched, mirrored",))
ONCE = (("as stored",),)
SAID = [
    "candidate", "repeat", "score", "gain", "alone", "alone_gain", "clean", "single", "scanner",
    "once", "once_alone", "clean_gain", "low", "high",
]  # fmt: skip
PARTNERS = Training("unchanged", None, ("cnn", "scattering"), 5, ())

Floats = NDArray[np.float64]
Kernel = Callable[[Floats, Floats, float], Floats]  # of two sets of cases and one over the features


@dataclass(frozen=True)
class Learning:
    """How a machine learns: from which features, copies and kernel; by default as the product did before.

    Attributes
    ----------
    scale : what is done to a layer's features before they are standardised, or ``whitened`` after it.
    features : of the machine: of whole images, of the blob's ``crop``, or its ``shape``.
    both : features are means over an image and its mirror image.
    """

    blocks: tuple[int, ...] = (7, 10, 14)
    spread: bool = False
    copies: tuple[str, ...] = ()
    kernel: str = "radial"
    sharpness: tuple[float, ...] = (1.0,)
    penalty: float = 3.0
    scale: str = ""
    features: str = ""
    both: bool = False
    platt_on_originals: bool = False


@dataclass(frozen=True)
class Candidate:
    """Machines with their weights, views (each a list to average), and the weight of `transfer`."""

    machines: tuple[tuple[Learning, float], ...] = ((Learning(), 1.0),)
    views: tuple[tuple[str, ...], ...] = PRODUCT_VIEWS
    once: tuple[tuple[str, ...], ...] = ONCE
    weight: float = 0.5


SCANNER = tuple(f"scanner copy {seed}-middle" for seed in range(1, 5))
MOVED = tuple(f"{name}-middle" for name in kept.COPIES if name.startswith("moved"))
BLURRED = "blurred copy-middle"
BOTH_WAYS = (("as stored", "mirrored"), ("matched", "matched, mirrored"))
THREE = (*PRODUCT_VIEWS, ("blurred",))


def _learnt(**other: object) -> Candidate:
    return Candidate(((replace(Learning(), **other), 1.0),))


FOURTH: Mapping[str, Mapping[str, object]] = {
    "shifts up and down": {"copies": MOVED[:2]},
    "shifts, unit length": {"copies": MOVED, "scale": "unit length"},
    "shifts up and down, unit length": {"copies": MOVED[:2], "scale": "unit length"},
    "shifts and scanner copies": {"copies": (*MOVED, SCANNER[0]), "scale": "unit length"},
}
NOW = Candidate()
CANDIDATES: Mapping[str, Candidate] = {
    "now": NOW,
    "mixture 1:3": replace(NOW, weight=0.25),
    "mixture 3:1": replace(NOW, weight=0.75),
    **{f"scanner copies, {count}": _learnt(copies=SCANNER[:count]) for count in (1, 2, 4)},
    "flips as copies": _learnt(copies=("mirror copy-middle",)),
    "flips at scoring": replace(NOW, views=BOTH_WAYS, once=BOTH_WAYS[:1]),
    "flips in the features": replace(_learnt(both=True), views=(("as stored",), ("matched",))),
    "shifts as copies": _learnt(copies=MOVED),
    "blurred copies": _learnt(copies=(BLURRED,)),
    "third view": replace(NOW, views=THREE),
    "blurred copies, third view": replace(_learnt(copies=(BLURRED,)), views=THREE),
    "half width": _learnt(copies=("half width copy 1-middle", "half width copy 2-middle")),
    "upright squares": _learnt(copies=("strip copy-middle", "strip copy-upper")),
    "blob crop": Candidate(((Learning(), 0.5), (Learning(features="crop"), 0.5))),
    "blob shape": Candidate(((Learning(), 0.75), (Learning(features="shape"), 0.25))),
    "layers 4, 7, 10, 14": _learnt(blocks=(4, 7, 10, 14)),
    "layers 7, 10, 12, 14": _learnt(blocks=(7, 10, 12, 14)),
    "layers 7, 10": _learnt(blocks=(7, 10)),
    "spread": _learnt(spread=True),
    "C = 1": _learnt(penalty=1.0),
    "C = 10": _learnt(penalty=10.0),
    "sharpness .3, 1, 3": _learnt(sharpness=(0.3, 1.0, 3.0)),
    "sharpness .5": _learnt(sharpness=(0.5,)),
    "sharpness 2": _learnt(sharpness=(2.0,)),
    "linear": _learnt(kernel="linear"),
    "least squares": _learnt(kernel="least squares"),
    "unit length": _learnt(scale="unit length"),
    "square root": _learnt(scale="square root"),
    "whitened": _learnt(scale="whitened"),
    **{
        f"scanner copies, {count}, mixture {ours}:1": replace(
            _learnt(copies=SCANNER[:count]), weight=ours / (ours + 1)
        )
        for count, ours in product((1, 2, 4), (2, 3))
    },
    **{
        f"{name}, mixture {ours}:1": replace(_learnt(**learning), weight=ours / (ours + 1))
        for name, learning in FOURTH.items()
        for ours in (1, 2)
    },
    **{
        f"scanner copies, 4, Platt on originals, mixture {ours}:1": replace(
            _learnt(copies=SCANNER, platt_on_originals=True), weight=ours / (ours + 1)
        )
        for ours in (1, 2)
    },
    **{
        f"scanner copies, 4, beside, mixture {ours}:1": Candidate(
            ((Learning(), 0.5), (Learning(copies=SCANNER), 0.5)), weight=ours / (ours + 1)
        )
        for ours in (1, 2)
    },
}


def main() -> None:
    asked = _arguments()
    world = ground(asked.keep, tuple(asked.views), asked.jobs)
    rows = []
    with threadpool_limits(1):
        for (name, candidate), repeat in product(_possible(asked), asked.repeats):
            rows.append({"candidate": name, "repeat": repeat, **measured(world, candidate, repeat)})
            say(" ".join(f"{key} {_short(value)}" for key, value in rows[-1].items() if key in SAID))
    table = pd.DataFrame(rows)[SAID]
    table.to_csv(asked.record, index=False, float_format="%.4f")


def _short(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--repeats", type=int, nargs="+", default=list(REPEATS), help="drawings of the folds")
    parser.add_argument("--views", nargs="+", choices=list(kept.VIEWS), default=list(kept.VIEWS))
    parser.add_argument("--only", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _possible(asked: argparse.Namespace) -> list[tuple[str, Candidate]]:
    views = set(asked.views)
    return [(name, CANDIDATES[name]) for name in asked.only if _needed(CANDIDATES[name]) <= views]


def _needed(candidate: Candidate) -> set[str]:
    plain = {view for each in candidate.views for view in each}
    needed = {_view_of(learning, view) for learning, _ in candidate.machines for view in plain}
    mirrors = {"mirrored", "matched, mirrored"} if any(each.both for each, _ in candidate.machines) else set()
    return needed | mirrors


def _view_of(learning: Learning, view: str) -> str:
    """Where a machine's features of a view are kept."""
    if learning.features == "crop":
        return "crop" if view == "as stored" else f"crop, {view}"
    return "shape" if learning.features == "shape" else view


@dataclass(frozen=True)
class World:
    """What every candidate is scored with; ``partners`` are log odds by condition and drawing."""

    bench: Bench
    group: NDArray[np.str_]
    folder: Path
    partners: Mapping[int, list[Floats]]
    partners_once: Mapping[int, Floats]


def ground(keep: Path, views: tuple[str, ...], jobs: int) -> World:
    """Trainings of `cnn` and `scattering`, features, groups and folds."""
    large, small = (
        medmnist.load("breastmnist", size=side, folders=[os.environ["CLINEVAL_DATA"]]) for side in (224, 28)
    )
    cohort = small.with_groups(audit(large).group_of)
    pool = np.flatnonzero(cohort.within("train", "val"))
    keep.mkdir(parents=True, exist_ok=True)
    kept.keep_features(large.images[pool], keep / "features", views=views, jobs=jobs)
    shown = list(conditions(cohort.images[pool], lambda: large.images[pool], keep))
    held_out, partners, once = {}, {}, {}
    with threadpool_limits(1):
        for repeat in REPEATS:
            folds = [_within(fold, pool) for fold in trained_folds(cohort, pool, PARTNERS, repeat, keep)]
            held_out[repeat] = [fold.outside for fold in folds]
            path = keep / f"partners-{repeat}.npz"
            if not path.is_file():
                odds = [_partner_odds(folds, [one.middle, one.upper]) for one in shown]
                np.savez(path, odds=odds, once=_once(folds, cohort, pool))
            read = np.load(path)
            partners[repeat], once[repeat] = list(read["odds"]), read["once"]
    bench = Bench(cohort.outcome[pool], held_out, shown)
    return World(bench, cohort.group[pool], keep / "features", partners, once)


def _within(fold: Fold, pool: Indices) -> Fold:
    """The fold with places in the pool in place of those in the cohort."""
    return replace(
        fold, inside=np.searchsorted(pool, fold.inside), outside=np.searchsorted(pool, fold.outside)
    )


def _partner_odds(folds: list[Fold], squares: Sequence[NDArray[np.uint8] | None]) -> Floats:
    """Log odds of `combined` without `transfer` of external images, shape (cases,)."""
    seen = [images for images in squares if images is not None]
    odds = np.empty(len(seen[0]))
    for fold in folds:
        views = [
            [external_view(images[fold.outside], name, fold.grey) for images in seen]
            for name in (ORIGINAL, MATCHED)
        ]
        networks = [log_odds(mean_risk(fold.models["cnn"], one)) for each in views for one in each]
        machines = [log_odds(mean_risk(fold.models["scattering"], one)) for one in views[0]]
        odds[fold.outside] = (np.mean(networks, axis=0) + np.mean(machines, axis=0)) / 2
    return odds


def _once(folds: list[Fold], cohort: Cohort, pool: Indices) -> Floats:
    """The same of clean images as development data are seen."""
    from clineval.models.preprocessing import View

    odds = np.empty(len(pool))
    for fold in folds:
        view = View(cohort.images[pool][fold.outside])
        risks = [mean_risk(fold.models[name], view) for name in PARTNERS.models]
        odds[fold.outside] = np.mean([log_odds(risk) for risk in risks], axis=0)
    return odds


# Scores of a candidate.


def measured(world: World, candidate: Candidate, repeat: int) -> dict[str, float]:
    """Score, parts and gain, and what changes on clean images seen once."""
    new, old = (_scored(world, one, repeat) for one in (candidate, NOW))
    alone, alone_now = (scores(world.bench, one, repeat)["score"] for one in (new[0], old[0]))
    parts = scores(world.bench, _mixed(world.partners[repeat], new[0], candidate.weight), repeat)
    now = scores(world.bench, _mixed(world.partners[repeat], old[0], NOW.weight), repeat)["score"]
    after = _mixed([world.partners_once[repeat]], [new[1]], candidate.weight)[0]
    before = _mixed([world.partners_once[repeat]], [old[1]], NOW.weight)[0]
    low, high = np.percentile(_resampled(world, repeat, before, after), (2.5, 97.5))
    once = fold_auc(world.bench, after, repeat)
    return {
        **parts,
        **{"gain": parts["score"] - now, "alone": alone, "alone_gain": alone - alone_now},
        **{"once": once, "once_alone": fold_auc(world.bench, new[1], repeat)},
        **{
            "clean_gain": once - fold_auc(world.bench, before, repeat),
            "low": float(low),
            "high": float(high),
        },
    }


def _mixed(partners: Sequence[Floats], own: Sequence[Floats], weight: float) -> list[Floats]:
    pairs = zip(partners, own, strict=True)
    return [(1 - weight) * partner + weight * mine for partner, mine in pairs]


def _resampled(world: World, repeat: int, before: Floats, after: Floats) -> Floats:
    """Differences of AUC, mean over folds, on resampled groups."""
    chance, outcome = np.random.default_rng(0), world.bench.outcome
    draws = np.empty((DRAWS, len(world.bench.folds[repeat])))
    for place, fold in enumerate(world.bench.folds[repeat]):
        members = [fold[world.group[fold] == name] for name in np.unique(world.group[fold])]
        for draw in range(DRAWS):
            drawn = np.concatenate([members[each] for each in chance.integers(0, len(members), len(members))])
            draws[draw, place] = auc(outcome[drawn], after[drawn]) - auc(outcome[drawn], before[drawn])
    return draws.mean(axis=1)


def _scored(world: World, candidate: Candidate, repeat: int) -> tuple[list[Floats], Floats]:
    """Log odds of `transfer` out of fold: by condition, as external images; and clean, seen once."""
    odds = sum(
        weight * _kept_odds(world, learning, candidate, repeat) for learning, weight in candidate.machines
    )
    return list(odds[:-1]), odds[-1]


def _kept_odds(world: World, learning: Learning, candidate: Candidate, repeat: int) -> Floats:
    asked = repr((learning, candidate.views, candidate.once)).encode()
    path = world.folder / f"odds-{hashlib.sha256(asked).hexdigest()[:16]}-{repeat}.npy"
    if not path.is_file():
        np.save(path, _odds(world, learning, candidate, repeat))
    return np.load(path)


def _odds(world: World, learning: Learning, candidate: Candidate, repeat: int) -> Floats:
    """Log odds of one machine out of fold, shape (conditions and clean seen once, cases)."""
    odds = np.zeros((len(kept.CONDITIONS) + 1, len(world.bench.outcome)))
    for outside in world.bench.folds[repeat]:
        machine = _learn(world, learning, np.setdiff1d(np.arange(odds.shape[1]), outside))
        for place, condition in enumerate(kept.CONDITIONS):
            squares = kept.squares_of(world.folder, condition)
            names = [f"{condition}-{square}" for square in squares]
            seen = [_viewed(world, machine, learning, name, candidate.views, outside) for name in names]
            odds[place, outside] = np.mean(seen, axis=0)
        odds[-1, outside] = _viewed(world, machine, learning, "clean-0-middle", candidate.once, outside)
    return odds


def _viewed(
    world: World,
    machine: "Machine",
    learning: Learning,
    square: str,
    views: tuple[tuple[str, ...], ...],
    cases: Indices,
) -> Floats:
    """The mean over views of the machine's log odds of some cases."""
    means = [
        np.mean([machine.odds(_features(world, learning, square, view, cases)) for view in each], axis=0)
        for each in views
    ]
    return np.mean(means, axis=0)


# Features and machines.


def _features(
    world: World, learning: Learning, square: str, view: str, cases: Indices
) -> NDArray[np.float32]:
    """Features of some cases, the parts of the kernel one behind the other."""
    if learning.features == "shape":
        return kept.read(world.folder, f"{square}-shape")[cases].astype(np.float32)
    views = [_view_of(learning, view)]
    if learning.both:
        views.append("mirrored" if view == "as stored" else f"{view}, mirrored")
    read = [kept.read(world.folder, f"{square}-{each}")[cases] for each in views]
    return np.mean([_picked(learning, each) for each in read], axis=0)


def _picked(learning: Learning, read: NDArray[np.float32]) -> NDArray[np.float32]:
    ends = dict(zip(kept.BLOCKS, np.cumsum(list(kept.SIZES.values())), strict=True))
    layers = [
        _scaled(learning, read[:, kind, ends[number] - kept.SIZES[number] : ends[number]])
        for kind in range(1 + learning.spread)
        for number in learning.blocks
    ]
    return np.concatenate(layers, axis=1)


def _scaled(learning: Learning, layer: NDArray[np.float32]) -> NDArray[np.float32]:
    if learning.scale == "unit length":
        return layer / np.linalg.norm(layer, axis=1, keepdims=True)
    return np.sign(layer) * np.sqrt(np.abs(layer)) if learning.scale == "square root" else layer


def _ends(learning: Learning) -> tuple[int, ...]:
    if learning.features == "shape":
        return (7,)
    sizes = [kept.SIZES[number] for number in learning.blocks] * (1 + learning.spread)
    return tuple(int(end) for end in np.cumsum(sizes))


@dataclass(frozen=True)
class Machine:
    """A fitted machine; ``project`` whitens each part where that was asked for."""

    learning: Learning
    mean: Floats
    sd: Floats
    vectors: list[Floats]
    project: Callable[[Floats], list[Floats]]
    dual: Floats
    intercept: float
    platt: tuple[float, float]

    def odds(self, features: NDArray[np.float32]) -> Floats:
        """Log odds of each case, shape (cases,)."""
        parts = self.project((features - self.mean) / self.sd)
        decision = _kernel(self.learning, parts, self.vectors) @ self.dual + self.intercept
        return self.platt[0] * decision + self.platt[1]


def _learn(world: World, learning: Learning, inside: Indices) -> Machine:
    squares = ("clean-0-middle", *learning.copies)
    copies = [_features(world, learning, square, "as stored", inside) for square in squares]
    features = np.concatenate(copies)
    outcome, group = (np.tile(each[inside], len(copies)) for each in (world.bench.outcome, world.group))
    mean, sd = features.mean(axis=0), np.where(np.ptp(features, axis=0) > 0, features.std(axis=0), 1)
    project = _projection(learning, (features - mean) / sd)
    vectors = project((features - mean) / sd)
    kernel = _kernel(learning, vectors, vectors)
    fold = grouped_folds(outcome, group, folds=5, seed=0)
    if learning.kernel == "least squares":
        solve = _least_squares
        decisions = _out_of_fold(kernel, outcome, fold)
    else:
        solve = lambda kernel, outcome: _margin(kernel, outcome, learning.penalty)  # noqa: E731
        decisions = svm.out_of_fold_decisions(kernel, outcome, fold, penalty=learning.penalty)
    dual, intercept = solve(kernel, outcome)
    used = np.flatnonzero(dual)
    vectors = [each[used] for each in vectors]
    judged = np.arange(len(inside) if learning.platt_on_originals else len(outcome))
    platt = svm.fit_platt(decisions[judged], outcome[judged])
    return Machine(learning, mean, sd, vectors, project, dual[used], intercept, platt)


def _margin(kernel: Floats, outcome: NDArray[np.bool_], penalty: float) -> tuple[Floats, float]:
    machine = SVC(C=penalty, kernel="precomputed").fit(kernel, outcome)
    dual = np.zeros(len(outcome))
    dual[machine.support_] = machine.dual_coef_[0]
    return dual, float(machine.intercept_[0])


def _least_squares(kernel: Floats, outcome: NDArray[np.bool_]) -> tuple[Floats, float]:
    target = np.where(outcome, 1.0, -1.0)
    dual = np.linalg.solve(kernel + np.eye(len(kernel)), target - target.mean())
    return dual, float(target.mean())


def _out_of_fold(kernel: Floats, outcome: NDArray[np.bool_], fold: NDArray[np.int64]) -> Floats:
    decision = np.empty(len(outcome))
    for number in np.unique(fold):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        dual, intercept = _least_squares(kernel[np.ix_(inside, inside)], outcome[inside])
        decision[outside] = kernel[np.ix_(outside, inside)] @ dual + intercept
    return decision


def _projection(learning: Learning, standard: Floats) -> Callable[[Floats], list[Floats]]:
    places = [slice(*place) for place in pairwise((0, *_ends(learning)))]
    if learning.scale != "whitened":
        return lambda features: [features[:, place] for place in places]
    axes = []
    for place in places:
        _, lengths, directions = np.linalg.svd(standard[:, place].astype(np.float64), full_matrices=False)
        variance = lengths[:100] ** 2 / len(standard)
        axes.append(directions[:100].T / np.sqrt(variance + variance.mean() / 10))
    return lambda features: [features[:, place] @ axis for place, axis in zip(places, axes, strict=True)]


def _kernel(learning: Learning, left: list[Floats], right: list[Floats]) -> Floats:
    """The mean over the parts of their kernels, shape (left, right)."""
    return np.mean([_part(learning, one, other) for one, other in zip(left, right, strict=True)], axis=0)


def _part(learning: Learning, left: Floats, right: Floats) -> Floats:
    size = left.shape[1]
    if learning.kernel == "linear":
        return left @ right.T / size
    lengths = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    squared = np.maximum(lengths - 2 * (left @ right.T), 0.0)
    return np.mean([np.exp(-sharpness / size * squared) for sharpness in learning.sharpness], axis=0)


if __name__ == "__main__":
    main()
