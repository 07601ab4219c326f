"""Single images worth a look: blank, saturated, unlike the rest, with text or measuring marks burnt in."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import white_tophat

from clineval.data.similarity import Images

BLANK = 3.0  # grey levels: standard deviation below which nothing is shown
WHITE = 250  # grey level from which a pixel counts as saturated
SATURATED = 0.10  # of the pixels; the most in BreastMNIST is 0.04
FAR_OUT = 3.0  # interquartile ranges beyond a quartile (Tukey's outer fence)
FEWEST = 20  # images below which "unlike the rest" means nothing
STROKE = 1 / 32  # of the width: letters' strokes and calipers are narrower, speckle is wider
STROKE_CONTRAST = 110  # grey levels above the darkest neighbour on one side
STROKE_LEVEL = 170  # grey level
STROKE_PIXELS, FEWEST_PIXELS = 8, 4  # at 224 x 224, and at any size; fewer may be one bright reflection


def blank(images: Images) -> NDArray[np.bool_]:
    """Images that show nothing, shape (cases,)."""
    return images.std(axis=(1, 2)) < BLANK


def saturated(images: Images) -> NDArray[np.bool_]:
    """Images of which at least a tenth is as good as white, shape (cases,)."""
    return (images >= WHITE).mean(axis=(1, 2)) >= SATURATED


def unlike_the_rest(images: Images) -> NDArray[np.bool_]:
    """Images whose brightness, contrast or layout lies beyond Tukey's outer fences, shape (cases,).

    Layout is the correlation with the average image. Of fewer than 20 images none is called unlike.
    """
    if len(images) < FEWEST:
        return np.zeros(len(images), bool)
    flat = images.reshape(len(images), -1).astype(np.float32)
    brightness, contrast = flat.mean(axis=1), flat.std(axis=1)
    average = flat.mean(axis=0)
    product = (flat - brightness[:, None]) @ (average - average.mean()) / flat.shape[1]
    scale = contrast * average.std()
    layout = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    return _far_out(brightness) | _far_out(contrast) | (_far_out(layout) & (layout < np.median(layout)))


def marked(images: Images) -> NDArray[np.bool_]:
    """Images with text or measuring marks burnt in, shape (cases,).

    Letters and calipers are bright strokes much narrower across than ultrasound's speckle, which
    the beam smears sideways: what a horizontal opening takes away is theirs. Marks that were shrunk
    with the image to less than about 128 pixels have blurred into the tissue and are not found.
    """
    height, width = images.shape[1:]
    opening = (1, max(3, round(width * STROKE)))
    least = max(FEWEST_PIXELS, STROKE_PIXELS * height * width / 224**2)
    return np.array([_stroke_pixels(image, opening) >= least for image in images], dtype=bool)


def _stroke_pixels(image: Images, opening: tuple[int, int]) -> int:
    strokes = white_tophat(image, size=opening) >= STROKE_CONTRAST
    return int(np.sum(strokes & (image >= STROKE_LEVEL)))


def _far_out(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    lower, upper = np.quantile(values, [0.25, 0.75])
    reach = FAR_OUT * (upper - lower)
    return (values < lower - reach) | (values > upper + reach)
