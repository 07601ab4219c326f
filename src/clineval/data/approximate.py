"""A first pass for very many images: candidate twins from an approximate nearest-neighbour search.

Only the candidates are approximate. Their similarity is then measured exactly, so that every pair
reported is a pair; how many are missed is measured in benchmarks/audit.md.
"""

from importlib.util import find_spec

import numpy as np

from clineval.data.similarity import (
    Alignment,
    Images,
    Indices,
    Matches,
    Progress,
    cosines,
    find_pairs,
    overlap,
)

NEIGHBOURS = 8  # candidates per image, as it is and mirrored
STILL = Alignment(0, 0, False)


def is_available() -> bool:
    """The neighbour library of the extra ``audit`` is installed."""
    return find_spec("pynndescent") is not None


def find_pairs_approximately(
    images: Images, threshold: float, *, seed: int = 0, progress: Progress | None = None
) -> Matches:
    """Pairs of images whose similarity reaches ``threshold``; nearly all of them.

    Each image, plain and mirrored, is looked up among all by its smoothest cosines, which small
    displacements change least.

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

    basis = cosines(*images.shape[1:])
    plain = overlap(images, STILL)[0] @ basis
    mirrored = overlap(images[:, :, ::-1], STILL)[0] @ basis
    index = NNDescent(plain, n_neighbors=NEIGHBOURS + 1, random_state=seed, n_jobs=-1)
    found = [index.neighbor_graph[0], index.query(mirrored, k=NEIGHBOURS)[0]]
    here = np.concatenate([np.repeat(np.arange(len(images)), near.shape[1]) for near in found])
    there = np.concatenate([near.ravel() for near in found]).astype(np.int64)
    known = (there >= 0) & (here != there)  # the search marks a neighbour that it did not find by -1
    low, high = np.minimum(here, there)[known], np.maximum(here, there)[known]
    code = np.unique(low * len(images) + high)
    return code // len(images), code % len(images)
