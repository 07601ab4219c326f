"""A finished run in a notebook: risks of images as a table that shows itself, and maps of single images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clineval.data.preparation import DEEP
from clineval.errors import InputError
from clineval.pipeline.explain import explainer, read_prepared
from clineval.pipeline.predict import Prediction, predict_images
from clineval.pipeline.stored_run import AS_TRAINED, StoredRun, left_out, read_run
from clineval.reporting.maps import Explanation
from clineval.reporting.notebook import PictureRow, picture_table

MOST_SHOWN = 100  # rows of a table in a notebook; ``table`` has them all


@dataclass(frozen=True)
class PredictedImages:
    """What a run says of some images: a table that a notebook shows with pictures, and maps on demand.

    Attributes
    ----------
    predictions : of each image, as ``clineval.predict`` gives them.
    squares : the prepared images, uint8, shape (images, side, side).
    """

    run: StoredRun
    predictions: tuple[Prediction, ...]
    squares: NDArray[np.uint8]
    matching: bool

    def __len__(self) -> int:
        return len(self.predictions)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row per image: its name, risk by the primary model, flagged, warning, risk by every model."""
        model, threshold = self.run.main
        rows = []
        for each in self.predictions:
            flagged = pd.NA if np.isnan(threshold) else each.risk[model] >= threshold
            row = {"image": each.image, "risk": each.risk[model], "flagged": flagged}
            risks = {f"risk_{name}": risk for name, risk in each.risk.items()}
            rows.append({**row, "warning": each.warning, **risks})
        return pd.DataFrame(rows).astype({"flagged": "boolean"})

    def explain(self, image: int | str = 0, *, model: str | None = None) -> "ShownExplanation":
        """The checked map of one image, which a notebook shows; by its number or its name.

        Of an upright image the square that was cut first is mapped.

        Raises
        ------
        InputError : there is no such image, more than one of that name, or no such model.
        """
        place = image if isinstance(image, int) else self._place_of(image)
        if not -len(self) <= place < len(self):
            raise InputError(f"explain needs one of {len(self)} images, counted from 0; got {place}.")
        ready = explainer(self.run, model, matching=self.matching)
        found = ready.explain(self.squares[place], image=self.predictions[place].image)
        return ShownExplanation(**vars(found))

    def _place_of(self, name: str) -> int:
        places = [number for number, each in enumerate(self.predictions) if each.image == name]
        if len(places) != 1:
            raise InputError(
                f"explain needs the name of one image; {len(places)} are called {name!r}. Give its number."
            )
        return places[0]

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        model, threshold = self.run.main
        shown = [
            PictureRow(square, each.image, each.risk[model], each.warning)
            for square, each in zip(self.squares[:MOST_SHOWN], self.predictions, strict=False)
        ]
        return picture_table(
            shown,
            condition=self.run.condition,
            model=model,
            threshold=threshold,
            notice=" ".join(filter(None, (self.run.notice, left_out(self.run)))),
            left_out=len(self) - len(shown),
        )


@dataclass(frozen=True)
class ShownExplanation(Explanation):
    """The checked map of one image, which a notebook shows as its picture."""

    def _repr_png_(self) -> bytes:
        from clineval.reporting.map_plots import explanation_png

        return explanation_png(self)


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, read once, ready to be asked."""

    run: StoredRun

    def predict(
        self,
        images: NDArray[np.uint8] | Path | str | Sequence[Path | str],
        *,
        fit: str = AS_TRAINED,
        bits: int = DEEP,
        matching: bool = True,
        second_view: bool = True,
    ) -> PredictedImages:
        """Risks of images, with the numbers of ``clineval.predict``.

        Parameters
        ----------
        images : image files or folders of them; or prepared images, uint8, shape (images, side, side) or
            (side, side).
        fit, bits, matching, second_view : as for ``clineval.predict``; ``fit``, ``bits`` and
            ``second_view`` are for files.

        Raises
        ------
        InputError : images of another size or type, or files that cannot be read (named).
        """
        if isinstance(images, np.ndarray):
            images = np.array(images)  # a copy: the caller's may change before a map is asked for
            first = images[None] if images.ndim == 2 else images
            if not len(first):
                raise InputError("Expected at least one image; got none.")
            found = predict_images(self.run, first, matching=matching)
            return PredictedImages(self.run, tuple(found), first, matching)
        sources = [images] if isinstance(images, str | Path) else list(images)
        names, views = read_prepared(self.run, sources, fit=fit, bits=bits, second_view=second_view)
        first, *second = views
        found = predict_images(
            self.run, first, second=next(iter(second), None), names=names, matching=matching
        )
        return PredictedImages(self.run, tuple(found), first, matching)


def load_run(results: Path | str) -> LoadedRun:
    """A finished run, read back to be asked for risks and maps.

    Parameters
    ----------
    results : folder of ``clineval run``; or ``model.onnx`` with ``model.json`` beside it.

    Raises
    ------
    InputError : not a whole folder of a run, or a file that was changed since.
    """
    return LoadedRun(read_run(Path(results)))
