"""A first pass for very many images: candidate twins from an approximate nearest-neighbour search.

Only the candidates are approximate. Their similarity is then measured exactly, so that every pair
reported is a pair; how many are missed is measured in benchmarks/audit.md.
"""

from importlib.util import find_spec

import numpy as np

from clineval.data.similarity import (
    SHIFT,
    Alignment,
    Images,
    Indices,
    Matches,
    Progress,
    Vectors,
    cosines,
    find_pairs,
    overlap,
)

NEIGHBOURS = 4  # candidates per look-up, of which each image has ten
SMOOTHEST = 24  # cosines; more of them change too much under a displacement
DISPLACED = ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))  # rows down, columns to the right
STILL = Alignment(0, 0, False)


def is_available() -> bool:
    """The neighbour library of the extra ``audit`` is installed."""
    return find_spec("pynndescent") is not None


def find_pairs_approximately(
    images: Images, threshold: float, *, seed: int = 0, progress: Progress | None = None
) -> Matches:
    """Pairs of images whose similarity reaches ``threshold``; nearly all of them.

    The middle of each image, as it is and displaced by a pixel along either diagonal, plain and
    mirrored, is looked up among the middles of all by its smoothest cosines. So every displacement
    of up to two pixels comes within a pixel of one that was looked up.

    Parameters
    ----------
    images : uint8, shape (cases, height, width).
    threshold : least similarity, in (0, 1].
    seed : of the search.
    progress : called with (alignments done, alignments in all).
    """
    return find_pairs(images, threshold, among=_candidates(images, seed=seed), progress=progress)


def _candidates(images: Images, *, seed: int) -> tuple[Indices, Indices]:
    from pynndescent import NNDescent  # its compiler takes ten seconds, spent only where it is needed

    index = NNDescent(_middle(images, 0, 0), n_neighbors=15, random_state=seed, n_jobs=-1)
    found = [index.neighbor_graph[0][:, : NEIGHBOURS + 1]]
    for field in (images, images[:, :, ::-1]):
        for dy, dx in DISPLACED:
            found.append(index.query(_middle(field, dy, dx), k=NEIGHBOURS + 1)[0])  # one is the image itself
    here = np.concatenate([np.repeat(np.arange(len(images)), near.shape[1]) for near in found])
    there = np.concatenate([near.ravel() for near in found]).astype(np.int64)
    known = (there >= 0) & (here != there)  # the search marks a neighbour that it did not find by -1
    low, high = np.minimum(here, there)[known], np.maximum(here, there)[known]
    code = np.unique(low * len(images) + high)
    return code // len(images), code % len(images)


def _middle(images: Images, dy: int, dx: int) -> Vectors:
    """Smooth cosines of the middle of each image, displaced by rows and columns, (images, 24)."""
    height, width = (side - SHIFT for side in images.shape[1:])
    middle = images[:, SHIFT + dy : height + dy, SHIFT + dx : width + dx]
    return overlap(middle, STILL)[0] @ cosines(*middle.shape[1:])[:, :SMOOTHEST]
