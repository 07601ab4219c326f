"""Do networks that learn from changed images travel better, alone or beside unchanged networks?

Folds, shifts, score and rule are those of study_transport.py (research/README.md): train +
val of BreastMNIST alone. The machine is the final one; networks see both squares of upright images, as
stored and matched, with or without the blurred view (each from both sides). A mixed ensemble has k
networks of five trained on changed images, the rest unchanged; each score is the mean over the five ways of
saying which.

    CLINEVAL_DATA=FOLDER python research/mixed_training.py --keep FOLDER --repeats 0 1 --members 5 [--moves]

Finished trainings and risks are kept in --keep and not made again. --members 1 is the screen with one network
a fold; --moves also averages each view over moves of one pixel. Writes mixed_choices.csv: for every
candidate and repeat the score and its parts, what it gains over the unchanged networks, and what it costs
(``combined`` on clean images as stored, without further views: difference, and its 95 % interval from
1,000 resamples of groups).
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from transport_models import (
    PREPARATIONS,
    Floats,
    Fold,
    Images,
    Shown,
    Training,
    ground,
    held_out_risks,
    trained_folds,
)
from transport_scores import Bench, auc, fold_auc, log_odds, mean_odds, scores

from clineval.data.cohort import Cohort
from clineval.models.classifier import risk_of
from clineval.models.preprocessing import View

RECORD = Path(__file__).with_name("mixed_choices.csv")
UNCHANGED = "unchanged"
KINDS = (
    "intensity",
    "scanner",
    "geometry",
    "geometry and intensity",
    "scanner and geometry",
    "intensity, half",
    "scanner, half",
    "geometry, half",
    "geometry and scanner, each half",
)
NOT_WHOLE = ("geometry and intensity", "scanner and geometry", "geometry, half")
WHOLE = tuple(kind for kind in KINDS if kind not in NOT_WHOLE)  # trained five a fold
VIEWS = {
    "two": ("as stored", "mean and SD matched"),
    "three": ("as stored", "mean and SD matched", "blurred .8"),
}
CLEAN = ("as stored",)
MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1))  # pixels down and right
DRAWS = 1000
SAID = [
    "candidate",
    "views",
    "repeat",
    "score",
    "gain",
    "clean",
    "scanner",
    "worst",
    "clean_gain",
    "low",
    "high",
]

Member = tuple[str, int]  # how it was trained, and which of the five it is
Said = dict[str, Floats]  # risks of the pool by KIND/LEVEL/VIEW


@dataclass(frozen=True)
class World:
    """All that is needed to score an ensemble in one repeat."""

    bench: Bench
    repeat: int
    group: np.ndarray
    said: Callable[[Member, str], Said]
    machine: list[Floats]


def main() -> None:
    asked = _arguments()
    cohort, pool, shown = ground(asked.keep)
    rows: list[dict[str, object]] = []
    with threadpool_limits(1):
        for repeat in asked.repeats:
            rows += _rows(_world(cohort, pool, shown, repeat, asked), asked)
    table = pd.DataFrame(rows)
    table.to_csv(asked.record, index=False, float_format="%.4f")
    say(table[SAID].to_string(index=False, float_format=lambda value: f"{value:.4f}"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--repeats", type=int, nargs="+", default=[0], help="drawings of the folds")
    parser.add_argument("--members", type=int, choices=(1, 5), default=5, help="networks a fold")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="all, or of whole ensembles those tried")
    parser.add_argument("--moves", action="store_true")
    asked = parser.parse_args()
    asked.kinds = asked.kinds or (KINDS if asked.members == 1 else WHOLE)
    asked.keep.mkdir(parents=True, exist_ok=True)
    return asked


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _world(
    cohort: Cohort, pool: np.ndarray, shown: list[Shown], repeat: int, asked: argparse.Namespace
) -> World:
    """The networks of every kind, trained where they are not kept yet, and the final machine."""
    folds = {
        kind: list(trained_folds(cohort, pool, _training(kind, "cnn", asked.members), repeat, asked.keep))
        for kind in (UNCHANGED, *asked.kinds)
    }
    machine = _training(UNCHANGED, "scattering", 1)
    machine_folds = list(trained_folds(cohort, pool, machine, repeat, asked.keep))
    path = asked.keep / f"machine-{repeat}.npz"
    bench = Bench(cohort.outcome[pool], {repeat: [fold.outside for fold in machine_folds]}, shown)
    seen = held_out_risks(machine_folds, shown, machine, CLEAN[0], path)
    risks: dict[tuple[Member, str], Said] = {}

    def said(member: Member, view: str) -> Said:
        kind, place = member
        if (member, view) not in risks:
            kept = asked.keep / f"said-{kind}-{repeat}-{place}-{view}.npz".replace(" ", "-")
            risks[member, view] = _said(folds[kind], shown, place, view, kept)
        return risks[member, view]

    odds = [_views([{name.partition("/")[2]: risk for name, risk in seen.items()}], one) for one in shown]
    return World(bench, repeat, cohort.group[pool], said, odds)


def _training(kind: str, model: str, members: int) -> Training:
    return Training(kind, None if kind == UNCHANGED else kind, (model,), members, ())


def _said(folds: list[Fold], shown: list[Shown], place: int, view: str, path: Path) -> Said:
    """What one member of each fold says of the cases left out, as one view shows them."""
    if path.is_file():
        return dict(np.load(path))
    said: Said = {}
    for one in shown:
        for view, images in (("middle", one.middle), ("upper", one.upper)):
            if images is not None:
                risk = said[f"{one.kind}/{one.level}/{view}"] = np.empty(len(images))
                for fold in folds:
                    seen = View(_prepared(images[fold.outside], view, fold.grey))
                    risk[fold.outside] = risk_of(fold.models["cnn"][place], seen)
    np.savez_compressed(path, **said)
    return said


def _prepared(images: Images, view: str, grey: Floats) -> Images:
    """Images prepared; a view may end in a move, as in ``blurred .8, moved 1 0``."""
    name, _, move = view.partition(", moved ")
    prepared = PREPARATIONS[name](images, grey)
    if not move:
        return prepared
    down, right = map(int, move.split())
    padded = np.pad(prepared, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    height, width = prepared.shape[1:]
    return padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]


def _moved(views: Sequence[str]) -> tuple[str, ...]:
    return (*views, *(f"{view}, moved {down} {right}" for view, (down, right) in product(views, MOVES)))


# Candidates: every one is a list of ensembles, whose scores are averaged.


def _candidates(kinds: Sequence[str], members: int) -> Iterator[tuple[str, list[list[Member]]]]:
    final = [(UNCHANGED, place) for place in range(members)]
    yield UNCHANGED, [final]
    for kind in kinds:
        changed = [(kind, place) for place in range(members)]
        for count in range(1, members):
            yield f"{count} {kind}", [_replaced(final, changed, first, count) for first in range(members)]
        yield f"{members} {kind}", [changed]
        if members > 1:
            yield f"{kind} beside all unchanged", [final + changed]
    if {"intensity", "scanner", "geometry"} <= set(kinds) and members > 1:
        yield "one each of intensity, scanner, geometry", [_one_each(first) for first in range(members)]


def _replaced(final: list[Member], changed: list[Member], first: int, count: int) -> list[Member]:
    """``count`` members, from ``first`` on, in their changed kind."""
    places = {(first + each) % len(final) for each in range(count)}
    return [changed[place] if place in places else final[place] for place in range(len(final))]


def _one_each(first: int) -> list[Member]:
    kinds = ("intensity", "scanner", "geometry", UNCHANGED, UNCHANGED)
    return [(kinds[(place - first) % len(kinds)], place) for place in range(len(kinds))]


# Scores.


def _rows(world: World, asked: argparse.Namespace) -> Iterator[dict[str, object]]:
    final = [(UNCHANGED, place) for place in range(asked.members)]
    base = {number: _score(world, final, views)["score"] for number, views in VIEWS.items()}
    for name, ensembles in _candidates(asked.kinds, asked.members):
        gain, low, high = _on_clean(world, ensembles)
        for number, views in VIEWS.items():
            parts = pd.DataFrame([_score(world, each, views) for each in ensembles]).mean().to_dict()
            yield {
                **{"candidate": name, "views": number, "repeat": world.repeat},
                **parts,
                **{"gain": parts["score"] - base[number], "clean_gain": gain, "low": low, "high": high},
            }
    if asked.moves:
        parts = _score(world, final, _moved(VIEWS["two"]))
        named = {"candidate": f"{UNCHANGED}, views moved by a pixel", "views": "two", "repeat": world.repeat}
        yield {**named, **parts, "gain": parts["score"] - base["two"], "clean_gain": 0.0}


def _score(world: World, members: Sequence[Member], views: Sequence[str]) -> dict[str, float]:
    return scores(world.bench, mean_odds(_network_odds(world, members, views), world.machine), world.repeat)


def _network_odds(world: World, members: Sequence[Member], views: Sequence[str]) -> list[Floats]:
    """Log odds by condition: the mean risk of the members, then the mean over views and squares."""
    by_view = [[world.said(member, view) for member in members] for view in views]
    ensembles = [{name: np.mean([one[name] for one in each], axis=0) for name in each[0]} for each in by_view]
    return [_views(ensembles, one) for one in world.bench.shown]


def _views(said: Sequence[Said], one: Shown) -> Floats:
    names = [f"{one.kind}/{one.level}/{view}" for view in ("middle", "upper")]
    return np.mean([log_odds(each[name]) for each in said for name in names if name in each], axis=0)


def _on_clean(world: World, ensembles: list[list[Member]]) -> tuple[float, float, float]:
    """What ``combined`` gains on clean images as stored, with its 95 % interval (groups resampled).

    Of several ensembles the first is resampled.
    """
    before = _clean(world, [(UNCHANGED, place) for place in sorted({place for _, place in ensembles[0]})])
    after = [_clean(world, ensemble) for ensemble in ensembles]
    difference = float(np.mean([fold_auc(world.bench, one, world.repeat) for one in after]))
    difference -= fold_auc(world.bench, before, world.repeat)
    low, high = np.percentile(_resampled(world, before, after[0]), (2.5, 97.5))
    return difference, float(low), float(high)


def _clean(world: World, members: Sequence[Member]) -> Floats:
    return (_network_odds(world, members, CLEAN)[0] + world.machine[0]) / 2


def _resampled(world: World, before: Floats, after: Floats) -> Floats:
    """Differences of AUC, mean over folds, on resampled groups."""
    chance = np.random.default_rng(0)
    by_fold = []
    for fold in world.bench.folds[world.repeat]:
        members = [fold[world.group[fold] == name] for name in np.unique(world.group[fold])]
        by_fold.append(members)
    draws = np.empty((DRAWS, len(by_fold)))
    for draw, (place, members) in product(range(DRAWS), enumerate(by_fold)):
        drawn = np.concatenate([members[each] for each in chance.integers(0, len(members), len(members))])
        outcome = world.bench.outcome[drawn]
        draws[draw, place] = auc(outcome, after[drawn]) - auc(outcome, before[drawn])
    return draws.mean(axis=1)


if __name__ == "__main__":
    main()
