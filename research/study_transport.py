"""Which preparation, views and training let models of BreastMNIST travel, chosen on BreastMNIST alone.

Models are trained on folds of train + val (near-duplicates in one fold) and score the fold left out: as it
is, under the six corruptions of ``clineval validate --corruptions``, and under eleven simulated differences
between scanners (scanner_shifts.py). No test image and no image of another cohort is used. The rule that
chooses is in research/README.md.

    CLINEVAL_DATA=FOLDER python research/study_transport.py --keep FOLDER [--repeats 0 1] [--whole NAME...]

Needs breastmnist.npz and breastmnist_224.npz. Finished trainings and risks are kept in --keep and not made
again; --whole trains five networks a fold also for the trainings named. Writes
transport_choices.csv: for each candidate, repeat and model the score, its three parts, the AUC (mean over
folds) of each shift (mean over its levels) and the worst single level; and prints the best.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from transport_models import (
    AVERAGED,
    PREPARATIONS,
    SETTINGS,
    TRAININGS,
    Floats,
    Fold,
    Indices,
    Shown,
    Training,
    ground,
    held_out_risks,
    trained_folds,
)
from transport_scores import Bench, log_odds, mean_odds, scores

RECORD = Path(__file__).with_name("transport_choices.csv")
VIEWS = ("middle", "both")
UNCHANGED = TRAININGS[0]


@dataclass(frozen=True)
class Told:
    """What the models of one training said of all that they were shown, prepared in one way."""

    training: Training
    preparation: str
    repeat: int
    risks: Mapping[str, Floats]


def main() -> None:
    asked = _arguments()
    cohort, pool, shown = ground(asked.keep)
    told: list[Told] = []
    held_out: dict[int, list[Indices]] = {}
    with threadpool_limits(1):
        for repeat, training in product(asked.repeats, _trainings(asked.whole, asked.only, asked.members)):
            folds = list(trained_folds(cohort, pool, training, repeat, asked.keep))
            held_out[repeat] = [fold.outside for fold in folds]
            told += _tell(folds, shown, training, repeat, asked)
    rows = pd.DataFrame(_rows(Bench(cohort.outcome[pool], held_out, shown), told))
    rows.to_csv(asked.record, index=False, float_format="%.4f")
    columns = [
        "model",
        "cnn",
        "scattering",
        "views",
        "repeat",
        "score",
        "clean",
        "single",
        "scanner",
        "worst",
    ]
    for _, best in rows.groupby("model"):
        say(best.nlargest(12, "score")[columns].to_string(index=False, float_format=lambda v: f"{v:.4f}"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--repeats", type=int, nargs="+", default=[0], help="drawings of the folds")
    parser.add_argument("--preparations", nargs="+", default=list(PREPARATIONS))
    parser.add_argument("--members", type=int, default=SETTINGS.members, help="networks a fold, at most")
    parser.add_argument("--whole", nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=[training.name for training in TRAININGS])
    asked = parser.parse_args()
    asked.keep.mkdir(parents=True, exist_ok=True)
    return asked


def _trainings(whole: list[str], only: list[str], members: int) -> Iterator[Training]:
    for training in TRAININGS:
        if training.name in only:
            yield replace(training, members=min(members, training.members))
    for training in TRAININGS:
        if training.name in whole:
            yield replace(training, name=f"{training.name}, whole", members=SETTINGS.members)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _tell(
    folds: list[Fold], shown: list[Shown], training: Training, repeat: int, asked: argparse.Namespace
) -> Iterator[Told]:
    for preparation in (name for name in training.preparations if name in asked.preparations):
        path = asked.keep / f"risks-{training.name}-{preparation}-{repeat}.npz"
        yield Told(training, preparation, repeat, held_out_risks(folds, shown, training, preparation, path))
        say(f"{training.name}, {preparation}, repeat {repeat}")


def _rows(bench: Bench, told: list[Told]) -> Iterator[dict[str, object]]:
    """One row per candidate: each model alone, and networks combined with the final scattering machine."""
    machines: dict[tuple[int, str], dict[tuple[str, ...], list[Floats]]] = {}
    for (training, repeat), views in product(
        dict.fromkeys((one.training, one.repeat) for one in told), VIEWS
    ):
        by_name = {one.preparation: one for one in told if (one.training, one.repeat) == (training, repeat)}
        averaged = [each for each in AVERAGED if set(each) <= set(by_name)]
        seen = {
            model: {each: _seen(bench, [by_name[name] for name in each], model, views) for each in averaged}
            for model in training.models
        }
        for model, each in product(training.models, averaged):
            names = {"model": model, model: _name(training, each)}
            yield _row(bench, seen[model][each], repeat, views, names)
        if training.name == UNCHANGED.name:
            machines[repeat, views] = seen["scattering"]
        final = machines[repeat, views]
        for network, machine in product(
            averaged, final if training.name == UNCHANGED.name else [("as stored",)]
        ):
            names = {"cnn": _name(training, network), "scattering": _name(UNCHANGED, machine)}
            odds = mean_odds(seen["cnn"][network], final[machine])
            yield _row(bench, odds, repeat, views, {"model": "combined", **names})


def _name(training: Training, averaged: tuple[str, ...]) -> str:
    return f"{training.name}; {' + '.join(averaged)}"


def _seen(bench: Bench, told: list[Told], model: str, views: str) -> list[Floats]:
    """Log odds, one array per condition: the mean over preparations and squares."""
    wanted = ("middle", "upper") if views == "both" else ("middle",)
    names = [[f"{model}/{one.kind}/{one.level}/{view}" for view in wanted] for one in bench.shown]
    return mean_odds(
        *(
            [
                np.mean([log_odds(one.risks[name]) for name in each if name in one.risks], axis=0)
                for each in names
            ]
            for one in told
        )
    )


def _row(
    bench: Bench, odds: list[Floats], repeat: int, views: str, names: Mapping[str, str]
) -> dict[str, object]:
    """A line of the record: what was scored, and its scores."""
    return {
        **{"model": "", "logreg": "", "cnn": "", "scattering": ""},
        **names,
        "views": views,
        "repeat": repeat,
        **scores(bench, odds, repeat),
    }


if __name__ == "__main__":
    main()
