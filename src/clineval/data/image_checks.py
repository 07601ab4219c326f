"""Single images worth a look: blank, saturated, unlike the rest, with text or measuring marks burnt in."""

from functools import reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clineval.data.similarity import Images

BLANK = 3.0  # grey levels: standard deviation below which nothing is shown
WHITE = 250  # grey level from which a pixel counts as saturated
SATURATED = 0.10  # of the pixels; the most in BreastMNIST is 0.04
FAR_OUT = 3.0  # interquartile ranges beyond a quartile (Tukey's outer fence)
FEWEST = 20  # images below which "unlike the rest" means nothing
NARROW = 3  # pixels: letters' strokes and the arms of calipers are narrower across, speckle is wider
UPRIGHT, STROKE_CONTRAST = 3, 25  # pixels: least height of a stroke; grey levels above both its sides
SHORT, SHORT_CONTRAST = 2, 70  # the same of smaller images, whose calipers are no higher and tissue as fine
LARGE_ENOUGH = 128  # pixels per side from which an image is not small
STROKE_PIXELS = 8  # on strokes; fewer may be one bright reflection
PRINT_SIDE = 256  # pixels of the short side to which larger pictures are reduced: print is then this narrow
BLOCK = 1024  # images looked at together


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

    Letters and calipers have bright upright strokes a pixel or two across, which ultrasound's
    speckle, smeared sideways by the beam, has not. The outermost columns are not looked at: there
    the edge of the picture makes narrow strokes of wide structures. Marks that were shrunk with
    the image to less than 128 pixels have mostly blurred into the tissue and are not found.
    """
    large = min(images.shape[1:]) >= LARGE_ENOUGH
    height, contrast = (UPRIGHT, STROKE_CONTRAST) if large else (SHORT, SHORT_CONTRAST)
    blocks = (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))
    found = [np.sum(_strokes(block, height=height) >= contrast, axis=(1, 2)) for block in blocks]
    return np.concatenate([np.zeros(0, np.int64), *found]) >= STROKE_PIXELS


def bears_marks(picture: Image.Image) -> bool:
    """Whether a whole picture, in Pillow's mode ``L`` and of any size, bears text or measuring marks."""
    shrink = max(1.0, min(picture.size) / PRINT_SIDE)
    size = (round(picture.width / shrink), round(picture.height / shrink))
    return bool(marked(np.asarray(picture.resize(size, Image.Resampling.BILINEAR))[None])[0])


def _strokes(images: Images, *, height: int) -> Images:
    """By how much each pixel of a narrow upright stroke stands out from both its sides, 0 elsewhere."""
    narrow = images - _opened(images, NARROW, axis=2)
    return _opened(narrow, height, axis=1)[:, :, NARROW:-NARROW]


def _opened(images: Images, length: int, *, axis: int) -> Images:
    """What remains of grey levels without bright things shorter than ``length`` pixels along one axis."""
    along = np.moveaxis(images, axis, -1)
    places = max(0, along.shape[-1] - length + 1)
    windows = [slice(start, start + places) for start in range(length)]
    darkest = reduce(np.minimum, (along[..., window] for window in windows))
    opened = np.zeros_like(along)
    for window in windows:
        np.maximum(opened[..., window], darkest, out=opened[..., window])
    return np.moveaxis(opened, -1, axis)


def _far_out(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    lower, upper = np.quantile(values, [0.25, 0.75])
    reach = FAR_OUT * (upper - lower)
    return (values < lower - reach) | (values > upper + reach)
