"""What a frozen run says of external images, square by square and look by look."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clineval.data.own_cohort import OwnCohort
from clineval.learning.matching import AS_IT_CAME, LOOKS, MIRRORED, WAYS
from clineval.learning.plain_models import Floats
from clineval.pipeline.stored_run import Seen, StoredRun, shipped_risks, view_images
from clineval.settings import ValidationSettings

FURTHER_LOOKS = "a further look: grey levels matched"
UPPER = "mean with the upper square"
NETWORK = "cnn"  # alone among the models goes along an image the way that its look says
Announce = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class ExternalScores:
    """External images as the models see them and what these say.

    ``views`` are the squares of each image (the middle one; the upper one where it counts); ``risks``
    the shipped ones by model; ``steps`` those after each step of preparation, in order.
    """

    views: tuple[NDArray[np.uint8], ...]
    seen: Seen
    risks: Mapping[str, Floats]
    steps: Mapping[str, Mapping[str, Floats]]


def score_external(
    run: StoredRun, external: OwnCohort, settings: ValidationSettings, *, jobs: int | None, announce: Announce
) -> ExternalScores:
    """Risks of every external image, as the run ships them and after each step on the way there."""
    views = (external.cohort.images, *external.further)
    plain = view_images(run, views[0], matching=False, jobs=jobs, progress=announce("Scoring the images"))
    steps = {"middle square" if settings.own.fit == "crop" else settings.own.fit: [plain.risks]}
    kept = [plain]
    if settings.matching:
        kept = [view_images(run, views[0], jobs=jobs, progress=announce("Scoring with matched grey levels"))]
        steps[FURTHER_LOOKS] = [kept[0].risks]
    for view in views[1:]:
        progress = announce("Scoring the upper squares")
        kept.append(view_images(run, view, matching=settings.matching, jobs=jobs, progress=progress))
        steps[UPPER] = [each.risks for each in kept]
    risks = {step: shipped_risks(run, seen) for step, seen in steps.items()}
    return ExternalScores(views, plain, list(risks.values())[-1], risks)


def looks_in_words() -> str:
    """Which model looks at an image in which further ways."""
    return "; ".join(
        f"{model}: {', '.join(_look_in_words(model, name) for name in names)}"
        for model, names in LOOKS.items()
        if len(names) > 1
    )


def _look_in_words(model: str, name: str) -> str:
    return f"{name} and mirrored" if model == NETWORK and WAYS[name] == (MIRRORED,) else name


def further_looks() -> tuple[str, ...]:
    """Every look but that at the image as it came, each once."""
    looks = dict.fromkeys(name for names in LOOKS.values() for name in names)
    return tuple(name for name in looks if name != AS_IT_CAME)
