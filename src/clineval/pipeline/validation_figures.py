"""The figures that a validation alone has: the mix of cases, and the squares that were scored."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clineval.data.own_cohort import OwnCohort
from clineval.data.preparation import box_of
from clineval.data.raw_samples import RawSample, draw_samples
from clineval.learning.matching import look
from clineval.pipeline.external_scores import ExternalScores, further_looks, looks_in_words
from clineval.pipeline.stored_run import StoredRun

SQUARES = {"crop": "middle\nsquare", "top": "upper\nsquare", "pad": "whole,\npadded"}
BY_VALUE, ALONE = 2, 6  # images shown per scanner, and where there is no column of scanners


def draw_beside(beside: Mapping[str, Any], external: OwnCohort, folder: Path) -> None:
    """Draw ``case_mix.png``: risks and grey levels at home and elsewhere."""
    from clineval.reporting.transport_plots import write_case_mix  # matplotlib is loaded only to draw

    write_case_mix(beside, folder / "case_mix.png", notice=external.cohort.source.notice)


def draw_scored_squares(
    run: StoredRun, external: OwnCohort, scored: ExternalScores, folder: Path, *, matching: bool
) -> None:
    """Draw ``check_strip.png``: files beside every square and look that was scored, by scanner."""
    from clineval.reporting.scored_strip import ScoredSquares, write_scored_strip

    by_scanner = draw_samples(external, each=BY_VALUE)
    drawn = by_scanner if by_scanner.by else draw_samples(external, each=ALONE)
    row_of = {str(case): row for row, case in enumerate(external.cohort.case)}
    fits = _fits(external, scored)
    looks = further_looks() if matching else ()
    squares = [
        ScoredSquares(
            sample,
            tuple(_box(sample, fit) for fit in fits),
            tuple(_tiles(run, scored, row_of[sample.case], looks)),
        )
        for sample in drawn.samples
    ]
    source = external.cohort.source
    write_scored_strip(
        drawn,
        squares,
        folder / "check_strip.png",
        names=(*(SQUARES[fit] for fit in fits), *looks),
        looks=looks_in_words() if matching else "",
        condition=external.cohort.condition,
        notice=source.notice,
    )


def _fits(external: OwnCohort, scored: ExternalScores) -> tuple[str, ...]:
    return (external.fit, "top")[: len(scored.views)]


def _box(sample: RawSample, fit: str) -> tuple[float, float, float, float]:
    height, width = sample.raw.shape
    left, upper, right, lower = box_of(width, height, fit=fit)
    return float(left), float(upper), float(right), float(lower)


def _tiles(
    run: StoredRun, scored: ExternalScores, row: int, looks: Sequence[str]
) -> Iterator[np.ndarray | None]:
    """The squares of one image, None where one is the first again; then the further looks at the first."""
    first = scored.views[0][row]
    yield first
    for view in scored.views[1:]:
        yield None if np.array_equal(view[row], first) else view[row]
    for name in looks:
        yield look(first[None], name, run.reference.familiarity.grey)[0]
