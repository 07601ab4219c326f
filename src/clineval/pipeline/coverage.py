"""The coverage simulation of an evaluation: how often our own intervals hold the truth at its sizes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clineval.evaluation import Evaluation, json_form
from clineval.evaluation.record import PopulationScores
from clineval.refusal import Refusal
from clineval.statistics import adequacy

SIMULATIONS = 2000
"""Simulated sets: 2,000 leave a standard error of .005 around a coverage of .95."""

MOST_SIMULATED = 20_000
"""Cases of a set beyond which 2,000 of them would take hours."""

Progress = Callable[[int, int], None]


def write_coverage(evaluation: Evaluation, path: Path, *, progress: Progress | None = None) -> None:
    """Simulate sets as large as each population kept for testing and write how often our intervals hold.

    Raises
    ------
    Refusal : no population can be simulated, or one is so large that simulating it would take hours.
    """
    wanted = list(_simulable(evaluation))
    if not wanted:
        raise Refusal(
            "--coverage needs a model with an AUC above .5 and below 1 on cases of both outcomes; came none."
        )
    simulated = [
        _simulate(scores, evaluation, progress=_part_of(progress, part, len(wanted)))
        for part, (_, _, scores) in enumerate(wanted)
    ]
    found = [
        {"model": model, "population": name, **result}
        for (model, name, _), result in zip(wanted, simulated, strict=True)
    ]
    content = {
        "level": evaluation.level,
        "seed": evaluation.seed,
        "simulations": SIMULATIONS,
        "populations": found,
    }
    path.write_text(
        json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _simulable(evaluation: Evaluation) -> Iterator[tuple[str, str, PopulationScores]]:
    for model, populations in evaluation.models.items():
        for name, scores in populations.items():
            if scores.used_for or not 0.5 < scores.measures["auc"].value < 1:
                continue
            if scores.cases > MOST_SIMULATED:
                raise Refusal(
                    f"--coverage simulates sets of the size of {name!r}, up to {MOST_SIMULATED} cases; came "
                    f"{scores.cases}, at which no interval's method is in doubt. Leave it out."
                )
            yield model, name, scores


def _simulate(
    scores: PopulationScores, evaluation: Evaluation, *, progress: Progress | None
) -> dict[str, Any]:
    auc = scores.measures["auc"].value
    rows = adequacy.coverage(
        scores.cases,
        scores.events,
        auc,
        simulations=SIMULATIONS,
        level=evaluation.level,
        seed=evaluation.seed,
        progress=progress,
    )
    measures = [{name: json_form.plain(value) for name, value in asdict(row).items()} for row in rows]
    return {"cases": scores.cases, "events": scores.events, "expected_auc": auc, "measures": measures}


def _part_of(progress: Progress | None, part: int, parts: int) -> Progress | None:
    """The progress of one of several equal parts, as that of the whole."""
    return None if progress is None else lambda done, total: progress(part * total + done, parts * total)
