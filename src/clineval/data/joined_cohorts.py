"""The tables of several hospitals as one cohort, each case with the site that it is from."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clineval.data.cohort import Source
from clineval.data.own_images import OwnCohort
from clineval.errors import InputError, in_short

SITE = "site"  # the column that says where a case is from
OWN_SITE = f"own_{SITE}"  # a column of that name in a table
BETWEEN = " + "  # names of the sites in the name of all


def join_cohorts(cohorts: Mapping[str, OwnCohort], *, name: str, grouped: bool) -> OwnCohort:
    """The cases of several sites in one cohort, under ``name``, with a column ``site``.

    A case is called SITE/CASE, and so is a group where each case is its own. Columns that not every table
    has are left out, and the notes say so.

    Parameters
    ----------
    cohorts : by site, at least two, all prepared in the same way.
    grouped : whether the tables name patients.

    Raises
    ------
    InputError : two tables share a file, a picture or a patient: sites count as independent.
    """
    _refuse_shared(cohorts, grouped=grouped)
    parts = list(cohorts.values())
    first = parts[0].cohort
    case = _joined(cohorts, lambda site, own: [f"{site}/{each}" for each in own.cohort.case])
    named = [set(_columns(own)) for own in parts]
    attributes = {
        column: np.concatenate([_columns(own)[column] for own in parts])
        for column in _columns(parts[0])
        if all(column in there for there in named)
    }
    left_out = sorted(set().union(*named) - set(attributes))
    site = _joined(cohorts, lambda site, own: [site] * len(own.cohort))
    cohort = replace(
        first,
        images=np.concatenate([own.cohort.images for own in parts]),
        outcome=np.concatenate([own.cohort.outcome for own in parts]),
        split=np.full(len(case), name),
        case=case,
        group=np.concatenate([own.cohort.group for own in parts]) if grouped else case.copy(),
        source=_source(cohorts, name, left_out),
        attributes={SITE: site, **attributes},
    )
    return replace(
        parts[0],
        cohort=cohort,
        paths=tuple(path for own in parts for path in own.paths),
        burnt_in=np.concatenate([own.burnt_in for own in parts]),
        further=tuple(np.concatenate(views) for views in zip(*(own.further for own in parts), strict=True)),
        unreadable=tuple(
            replace(each, case=f"{site}/{each.case}")
            for site, own in cohorts.items()
            for each in own.unreadable
        ),
    )


def _joined(cohorts: Mapping[str, OwnCohort], of: Callable[[str, OwnCohort], list[str]]) -> NDArray[np.str_]:
    return np.concatenate([np.asarray(of(site, own), dtype=np.str_) for site, own in cohorts.items()])


def _columns(own: OwnCohort) -> dict[str, NDArray[np.generic]]:
    """The further columns, one named as the program's own under another name."""
    return {OWN_SITE if name == SITE else name: values for name, values in own.cohort.attributes.items()}


def _source(cohorts: Mapping[str, OwnCohort], name: str, left_out: list[str]) -> Source:
    sources = {site: own.cohort.source for site, own in cohorts.items()}
    digest = hashlib.sha256("".join(each.sha256 for each in sources.values()).encode("ascii"))
    return replace(
        next(iter(sources.values())),
        title=name,
        file=", ".join(each.file for each in sources.values()),
        sha256=digest.hexdigest(),
        notes=tuple(_notes(sources, left_out)),
    )


def _notes(sources: Mapping[str, Source], left_out: list[str]) -> Iterator[str]:
    """Each note once, with the site where it is not of all."""
    for note in dict.fromkeys(note for each in sources.values() for note in each.notes):
        of = [site for site, each in sources.items() if note in each.notes]
        yield note if len(of) == len(sources) else f"{in_short(of)}: {note}"
    if left_out:
        yield f"Columns that not every table has were left out: {in_short(left_out)}."


def _refuse_shared(cohorts: Mapping[str, OwnCohort], *, grouped: bool) -> None:
    looked_at: dict[str, Callable[[OwnCohort], Iterable[object]]] = {
        "file": lambda own: [path.resolve() for path in own.paths],
        "picture": lambda own: [image.tobytes() for image in own.cohort.images],
        **({"patient": lambda own: own.cohort.group.tolist()} if grouped else {}),
    }
    for what, of in looked_at.items():
        seen: dict[object, tuple[str, int]] = {}
        for site, own in cohorts.items():
            for place, key in enumerate(of(own)):
                there, other = seen.setdefault(key, (site, place))
                if there != site:
                    _refuse(what, cohorts, (there, other), (site, place))


def _refuse(what: str, cohorts: Mapping[str, OwnCohort], *found: tuple[str, int]) -> None:
    cases = " and ".join(f"{cohorts[site].cohort.case[place]} of {site}" for site, place in found)
    shared = str(cohorts[found[0][0]].cohort.group[found[0][1]])
    same = f"the same patient, {shared!r}" if what == "patient" else f"the same {what}"
    remedy = (
        "Give patients of different hospitals different names, or keep one who was at both at one of them."
        if what == "patient"
        else "Keep it in one table."
    )
    raise InputError(f"Sites count as independent; got {same} in two tables: {cases}. {remedy}")
