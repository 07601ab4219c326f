"""The program with small phantom sets, short trainings and few resamples: in a test, or run as a script."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from PIL import Image

from clineval.cli import images, main
from clineval.data import phantom as phantom_set
from clineval.settings import RunSettings

CASES = (60, 24, 40)
Patch = Callable[[object, str, object], None]  # setattr, or that of a monkeypatch


def shorten(
    patch: Patch, *, cases: Sequence[int] = CASES, members: int = 2, epochs: int = 2, draws: int = 50
) -> None:
    """Let the commands draw a phantom set of ``cases`` and train and resample so little; they record it."""
    draw, whole = phantom_set.phantom, images.run_settings

    def short(**named: object) -> RunSettings:
        settings = whole(**named)
        training = settings.training
        training = replace(training, members=members, network=replace(training.network, epochs=epochs))
        return replace(settings, training=training, evaluation=replace(settings.evaluation, draws=draws))

    patch(phantom_set, "phantom", lambda seed, reason: draw(seed, cases=cases, reason=reason))
    patch(images, "run_settings", short)


def leave_unpainted(patch: Patch) -> None:
    """Figures are composed and saved under their names, but as one white square: painting takes longest."""
    from clineval.reporting import style

    square = Image.new("L", (1, 1), 255)
    patch(style, "_drawn_png", lambda _, path: partial(square.save, path))


if __name__ == "__main__":
    shorten(setattr)
    if "--unpainted" in sys.argv:
        sys.argv.remove("--unpainted")
        leave_unpainted(setattr)
    main.main()
