"""What several readers said of the same cases: each one's AUC or rates, and how these vary together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from clineval.statistics.counts import Bools, Floats, checked_cases, flagged, group_codes, takes_series
from clineval.statistics.intervals import few_groups, shared_groups

Codes = NDArray[np.intp]

MEASURES = ("auc", "sensitivity", "specificity")
COVARIANCES = ("delong", "jackknife")


@dataclass(frozen=True)
class Readings:
    """What each reader said of each case with each modality.

    ``rating``: shape (modalities, readers, cases), NaN where a case was not read. ``outcome`` and
    ``group`` (numbers from 0): shape (cases,). ``modalities``, ``readers``, ``cases``: sorted names.
    """

    rating: Floats
    outcome: Bools
    group: Codes
    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Performance:
    """Each reader's AUC, sensitivity or specificity, shape (modalities, readers), and their covariance.

    ``covariance``: shape (modalities, readers, modalities, readers), NaN where it cannot be estimated, as
    from fewer than ten groups.
    ``nested``: "readers" or "modalities" where each case belongs to one of them only, else "".
    """

    measure: str
    value: Floats
    covariance: Floats
    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    cases: int
    nested: str
    method: str


@takes_series
def arrange_readings(
    rating: ArrayLike,
    *,
    outcome: ArrayLike,
    reader: ArrayLike,
    case: ArrayLike,
    modality: ArrayLike | None = None,
    group: ArrayLike | None = None,
) -> Readings:
    """A study in long form, one row per reading, as a table of modality by reader by case.

    Parameters
    ----------
    rating : shape (n,), finite; the higher, the surer the reader is of the condition.
    outcome : shape (n,), True where the case has the condition.
    reader, case : shape (n,), names. A reading that was not made has no row.
    modality : shape (n,), such as without and with AI; None: one modality.
    group : shape (n,); cases that are not independent share it.

    Raises
    ------
    ValueError
        Where a case has two outcomes or two groups, or a reader read it twice with one modality.
    """
    outcome, rating = checked_cases(outcome, rating)
    modality = np.zeros(len(rating), dtype=np.int64) if modality is None else modality
    group = case if group is None else group
    if not len(rating):
        raise ValueError("Expected at least one reading, got none.")
    names, codes = zip(*(_named(each, len(rating)) for each in (modality, reader, case, group)), strict=True)
    table = np.full([len(each) for each in names[:3]], np.nan)
    place = np.ravel_multi_index(codes[:3], table.shape)
    if len(np.unique(place)) < len(place):
        row = int(np.flatnonzero(np.bincount(place)[place] > 1)[0])
        m, r, c = (each[code[row]] for each, code in zip(names[:3], codes[:3], strict=True))
        raise ValueError(f"Expected one rating by reader {r} of case {c} with modality {m}, got several.")
    table.flat[place] = rating
    truth = _one_per_case(outcome.astype(np.intp), codes[2], names[2], "outcome")
    code = _one_per_case(codes[3], codes[2], names[2], "group")
    return Readings(table, truth == 1, group_codes(code, len(code)), *names[:3])


def _named(values: ArrayLike, rows: int) -> tuple[tuple[str, ...], Codes]:
    values = np.asarray(values)
    if values.shape != (rows,):
        raise ValueError(f"Expected one reader, case, modality and group per rating, got {values.shape}.")
    names, code = np.unique(values, return_inverse=True)
    return tuple(str(name) for name in names), code


def _one_per_case(value: Codes, case: Codes, names: Sequence[str], what: str) -> Codes:
    known = np.zeros(len(names), dtype=np.intp)
    known[case] = value
    if np.any(known[case] != value):
        which = names[case[np.flatnonzero(known[case] != value)[0]]]
        raise ValueError(f"Expected one {what} per case, got two for case {which}.")
    return known


def reader_performance(
    study: Readings, *, measure: str = "auc", cut: float | None = None, covariance: str = "delong"
) -> Performance:
    """Each reader's AUC, sensitivity or specificity with each modality, and how these vary together.

    Parameters
    ----------
    measure : "auc", "sensitivity" or "specificity".
    cut : a reader acts where the rating is at least this; needed for sensitivity and specificity.
    covariance : "delong", which needs every reader to have read every case with every modality, or
        "jackknife". Both respect groups: Obuchowski's clustered form (1997, doi:10.2307/2533958), and
        whole groups left out.

    Raises
    ------
    ValueError
        Where a reader has too few cases of either outcome, gave one rating throughout (AUC), or left a
        case unread (DeLong).
    """
    known_word(measure, MEASURES, "measure")
    known_word(covariance, COVARIANCES, "covariance")
    kept, right = _looked_at(study, measure, cut)
    _check_cells(study, right, kept, measure)
    if covariance == "delong":
        _check_complete(study, right, kept)
    outcome, code = study.outcome[kept], group_codes(study.group[kept], int(kept.sum()))
    sample = _Sample(right, outcome, code, int(code.max()) + 1, measure == "auc")
    value, left_out = _left_out(sample)
    spread = _delong(sample) if covariance == "delong" else _jackknife(left_out)
    few = few_groups(shared_groups(study.group, len(study.group)))
    spread = np.full_like(spread, np.nan) if few else spread
    shape = study.rating.shape[:2]
    return Performance(
        measure=measure,
        value=value.reshape(shape),
        covariance=spread.reshape(shape + shape),
        modalities=study.modalities,
        readers=study.readers,
        cases=len(outcome),
        nested=_nesting(~np.isnan(right).reshape((*shape, -1))),
        method=few or _covariance_method(covariance, sample, undefined=bool(np.isnan(spread).any())),
    )


@dataclass(frozen=True)
class _Sample:
    """Ratings, or for a rate 1 where the reader was right: shape (rows, cases), NaN where unread."""

    right: Floats
    outcome: Bools
    code: Codes
    groups: int
    auc: bool


def known_word(word: str, words: Iterable[str], what: str) -> None:
    """Refuses a word that is none of these: a misspelt measure, covariance or design."""
    if word not in words:
        raise ValueError(f"Expected as {what} one of {', '.join(words)}, got {word!r}.")


def _looked_at(study: Readings, measure: str, cut: float | None) -> tuple[Bools, Floats]:
    """Which cases the measure uses, and what of them, one row per modality and reader."""
    rows = study.rating.reshape(-1, len(study.outcome))
    if measure == "auc":
        return np.ones_like(study.outcome), rows
    if cut is None:
        raise ValueError(f"Expected a cut, the rating from which a reader acts, for the {measure}; got none.")
    kept = study.outcome if measure == "sensitivity" else ~study.outcome
    right = flagged(rows, cut) == study.outcome
    return kept, np.where(np.isnan(rows), np.nan, right)[:, kept]


def _check_cells(study: Readings, right: Floats, kept: Bools, measure: str) -> None:
    """Refuses a reader of whom nothing can be said, by name."""
    read, outcome = ~np.isnan(right), study.outcome[kept]
    events, others = (read & outcome).sum(axis=1), (read & ~outcome).sum(axis=1)
    for who, m, n, row in zip(_cell_names(study), events, others, right, strict=True):
        if measure != "auc":
            if m + n < 2:
                raise ValueError(f"Expected at least two cases from {who} for the {measure}, got {m + n}.")
        elif min(m, n) < 2:
            raise ValueError(
                f"Expected at least two cases with and two without the condition from {who}, got {m} and {n}."
            )
        elif np.nanmin(row) == np.nanmax(row):
            raise ValueError(f"Expected different ratings from {who}, got {np.nanmin(row):g} for every case.")


def _check_complete(study: Readings, right: Floats, kept: Bools) -> None:
    cell, case = np.nonzero(np.isnan(right))
    if len(cell):
        name = study.cases[np.flatnonzero(kept)[case[0]]]
        raise ValueError(
            f"Expected every reader to read every case for DeLong's covariance, but "
            f"{_cell_names(study)[cell[0]]} did not read case {name}. Use the jackknife."
        )


def _cell_names(study: Readings) -> list[str]:
    one = len(study.modalities) == 1
    return [
        f"reader {r}" + ("" if one else f" with modality {m}")
        for m in study.modalities
        for r in study.readers
    ]


def _left_out(sample: _Sample) -> tuple[Floats, Floats]:
    """Value of each row, and its values without each group in turn, shape (groups, rows)."""
    read = ~np.isnan(sample.right)
    if not sample.auc:
        right, of = (
            _by_group(np.where(read, each, 0.0), sample.code, sample.groups) for each in (sample.right, read)
        )
        return right.sum(axis=0) / of.sum(axis=0), _ratio(right.sum(axis=0) - right, of.sum(axis=0) - of)
    event, other = sample.outcome, ~sample.outcome
    beaten, exceeded = _pairs_won(sample)
    won = _by_group(beaten, sample.code[event], sample.groups)
    won += _by_group(exceeded, sample.code[other], sample.groups)
    events, others = (_by_group(read[:, side], sample.code[side], sample.groups) for side in (event, other))
    m, n = events.sum(axis=0), others.sum(axis=0)
    left = beaten.sum(axis=1) - won + _won_within(sample)
    return beaten.sum(axis=1) / (m * n), _ratio(left, (m - events) * (n - others))


def _pairs_won(sample: _Sample) -> tuple[Floats, Floats]:
    """For each event the non-events rated below it, for each non-event the events above; ties half."""
    event, read = sample.outcome, ~np.isnan(sample.right)
    # An unread case stands above all others, where it changes nobody's rank.
    rating = np.where(read, sample.right, np.inf)
    among_all = rankdata(rating, axis=1)
    beaten = among_all[:, event] - rankdata(rating[:, event], axis=1)
    beats = among_all[:, ~event] - rankdata(rating[:, ~event], axis=1)
    exceeded = read[:, event].sum(axis=1)[:, None] - beats
    return np.where(read[:, event], beaten, 0.0), np.where(read[:, ~event], exceeded, 0.0)


def _won_within(sample: _Sample) -> Floats:
    """Pairs that share a group and are ranked rightly, ties counting half, shape (groups, rows)."""
    code, events = sample.code, np.bincount(sample.code, sample.outcome, sample.groups)
    mixed = (events > 0) & (events < np.bincount(code, minlength=sample.groups))
    event, other = (np.flatnonzero(mixed[code] & side) for side in (sample.outcome, ~sample.outcome))
    one, two = np.nonzero(code[event][:, None] == code[other][None, :])
    a, b = sample.right[:, event[one]], sample.right[:, other[two]]
    # Comparisons with an unread case, NaN, are false: it wins no pair.
    return _by_group((a > b) + (a == b) / 2, code[event[one]], sample.groups)


def _by_group(values: ArrayLike, code: Codes, groups: int) -> Floats:
    """Sums over the cases of each group of values of shape (rows, cases): shape (groups, rows)."""
    values = np.asarray(values, dtype=np.float64)
    sums = np.zeros((groups, len(values)))
    np.add.at(sums, code, values.T)
    return sums


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _jackknife(left_out: Floats) -> Floats:
    """Covariance (rows, rows) from the values without each group, as MRMCaov takes it."""
    groups = len(left_out)
    apart = left_out - left_out.mean(axis=0)
    return (groups - 1) / groups * (apart.T @ apart)


def _delong(sample: _Sample) -> Floats:
    """Covariance (rows, rows) by DeLong in Obuchowski's clustered form (1997), whose letters these are."""
    groups = sample.groups
    sides = [side for side in (sample.outcome, ~sample.outcome) if side.any()]
    if sample.auc:
        beaten, exceeded = _pairs_won(sample)
        placed = [beaten / exceeded.shape[1], exceeded / beaten.shape[1]]
    else:
        placed = [sample.right]
    codes = [sample.code[side] for side in sides]
    V = [_deviations(X, code, groups) for X, code in zip(placed, codes, strict=True)]
    total = np.zeros((len(sample.right),) * 2)
    for v, code in zip(V, codes, strict=True):
        total += _few(len(np.unique(code))) / len(code) ** 2 * (v.T @ v)
    if len(V) == 2:
        S11 = _few(groups) * (V[0].T @ V[1])
        total += (S11 + S11.T) / (len(codes[0]) * len(codes[1]))
    return total


def _deviations(placed: Floats, code: Codes, groups: int) -> Floats:
    """What each group adds beyond the mean of its row, shape (groups, rows)."""
    return _by_group(placed - placed.mean(axis=1, keepdims=True), code, groups)


def _few(groups: int) -> float:
    return groups / (groups - 1) if groups > 1 else np.nan


def _nesting(read: NDArray[np.bool_]) -> str:
    """Whether each case belongs to one reader or one modality only; (modalities, readers, cases)."""
    if np.all(read.any(axis=0).sum(axis=0) == 1):
        return "readers"
    return "modalities" if np.all(read.any(axis=1).sum(axis=0) == 1) else ""


def _covariance_method(covariance: str, sample: _Sample, *, undefined: bool) -> str:
    if undefined:
        return "no interval: the variance needs either outcome in at least two groups, of every reader"
    clustered = sample.groups < len(sample.code)
    over = f"{sample.groups} {'groups' if clustered else 'cases'}"
    if covariance == "jackknife":
        return f"jackknife over {over}"
    return f"DeLong clustered by {over} (Obuchowski)" if clustered else "DeLong"
