"""Claim: an external image need not be seen from both sides in every view; two passes of six score alike.

Chosen on BreastMNIST's train + val alone, under the simulated shifts of study_transport.py, by the rule in
README.md ("Preparation"). Unchanged networks, five a fold; the scattering machine sees the image as stored.

    CLINEVAL_DATA=FOLDER python research/study_views.py --keep FOLDER [--repeats 0 1]

Trainings and shifts are kept in --keep, which may be that of study_transport.py. Writes views_choices.csv.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from transport_models import (
    PREPARATIONS,
    TRAININGS,
    Floats,
    Fold,
    Images,
    Shown,
    ground,
    held_out_risks,
    mean_risk,
    trained_folds,
)
from transport_scores import Bench, log_odds, mean_odds, scores

from clineval.models.preprocessing import View

RECORD = Path(__file__).with_name("views_choices.csv")
STORED, MATCHED, BLURRED = "as stored", "mean and SD matched", "blurred .8"
STRAIGHT, MIRRORED, BOTH = (0,), (1,), (0, 1)
Way = Mapping[str, tuple[int, ...]]
# By name: how each view is taken of the middle square, and of the upper one of upright images.
WAYS: Mapping[str, tuple[Way, Way]] = {
    name: (middle, upper if upper else middle)
    for name, middle, upper in (
        (
            "six passes: every view both ways (final until then)",
            {STORED: BOTH, MATCHED: BOTH, BLURRED: BOTH},
            None,
        ),
        ("four: further views one way each", {STORED: BOTH, MATCHED: STRAIGHT, BLURRED: MIRRORED}, None),
        ("four: no blurred view", {STORED: BOTH, MATCHED: BOTH}, None),
        ("three: in turn", {STORED: STRAIGHT, MATCHED: MIRRORED, BLURRED: STRAIGHT}, None),
        (
            "three: in turn, the upper square the other way",
            {STORED: STRAIGHT, MATCHED: MIRRORED, BLURRED: STRAIGHT},
            {STORED: MIRRORED, MATCHED: STRAIGHT, BLURRED: MIRRORED},
        ),
        ("two: as stored straight, matched mirrored", {STORED: STRAIGHT, MATCHED: MIRRORED}, None),
        ("two: one view both ways", {STORED: BOTH}, None),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder of trainings and shifts")
    parser.add_argument("--repeats", type=int, nargs="+", default=[0, 1], help="drawings of the folds")
    asked = parser.parse_args()
    asked.keep.mkdir(parents=True, exist_ok=True)
    cohort, pool, shown = ground(asked.keep)
    rows: list[dict[str, object]] = []
    with threadpool_limits(1):
        for repeat in asked.repeats:
            folds = list(trained_folds(cohort, pool, TRAININGS[0], repeat, asked.keep))
            bench = Bench(cohort.outcome[pool], {repeat: [fold.outside for fold in folds]}, shown)
            rows += _rows(bench, folds, repeat, asked.keep)
    table = pd.DataFrame(rows)
    table.to_csv(RECORD, index=False, float_format="%.4f")
    sys.stdout.write(table.to_string(index=False, float_format=lambda value: f"{value:.4f}") + "\n")


def _rows(bench: Bench, folds: list[Fold], repeat: int, keep: Path) -> Iterator[dict[str, object]]:
    told = {name: [_views(folds, one, name) for one in bench.shown] for name in (STORED, MATCHED, BLURRED)}
    path = keep / f"risks-{TRAININGS[0].name}-{STORED}-{repeat}.npz"
    machine = _machine(held_out_risks(folds, bench.shown, TRAININGS[0], STORED, path), bench.shown)
    for name, ways in WAYS.items():
        network = [_mean(told, ways, place) for place in range(len(bench.shown))]
        passes = sum(map(len, ways[0].values()))
        for model, odds in (("cnn", network), ("combined", mean_odds(network, machine))):
            yield {
                "model": model,
                "way": name,
                "passes": passes,
                "repeat": repeat,
                **scores(bench, odds, repeat),
            }


def _mean(told: Mapping[str, list[list[Floats]]], ways: tuple[Way, Way], place: int) -> Floats:
    """Log odds of the ensemble under one condition: the mean over squares, each the mean over its views."""
    squares = len(told[STORED][place])
    return np.mean(
        [
            np.mean(
                [
                    log_odds(told[name][place][square][:, way].mean(axis=1))
                    for name, way in ways[square].items()
                ],
                axis=0,
            )
            for square in range(squares)
        ],
        axis=0,
    )


def _views(folds: list[Fold], one: Shown, preparation: str) -> list[Floats]:
    """By square, the ensemble's risk of all cases, shape (cases, 2): straight and mirrored."""
    squares = [one.middle] if one.upper is None else [one.middle, one.upper]
    return [_held_out(folds, images, preparation) for images in squares]


def _held_out(folds: list[Fold], images: Images, preparation: str) -> Floats:
    risk = np.empty((len(images), 2))
    for fold in folds:
        prepared = PREPARATIONS[preparation](images[fold.outside], fold.grey)
        for column, mirrored in enumerate((False, True)):
            risk[fold.outside, column] = mean_risk(fold.models["cnn"], View(prepared, (mirrored,)))
    return risk


def _machine(risks: Mapping[str, Floats], shown: list[Shown]) -> list[Floats]:
    names = [[f"scattering/{one.kind}/{one.level}/{view}" for view in ("middle", "upper")] for one in shown]
    return [np.mean([log_odds(risks[name]) for name in each if name in risks], axis=0) for each in names]


if __name__ == "__main__":
    main()
