"""A first pass for very many images: candidate twins from an approximate nearest-neighbour search.

Only the candidates are approximate. Their similarity is then measured exactly, so that every pair
reported is a pair; what can be missed is counted in docs/audit.md.
"""

import numpy as np

from clineval.data.similarity import (
    ALIGNMENTS,
    Alignment,
    Images,
    Indices,
    Matches,
    Progress,
    cosines,
    joined,
    overlap,
    similarity_of,
)

NEIGHBOURS = 15  # candidates per image and orientation
CHUNK = 20_000  # candidate pairs measured at once; about 130 MB of pixels
STILL = Alignment(0, 0, False)


def is_available() -> bool:
    """The neighbour library of the extra ``audit`` is installed."""
    try:
        import pynndescent  # noqa: F401
    except ImportError:
        return False
    return True


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
    progress : called with (steps done, steps in all).
    """
    first, second = _candidates(images, seed=seed)
    parts = []
    starts = range(0, max(len(first), 1), CHUNK)
    for done, start in enumerate(starts, start=1):
        chunk = slice(start, start + CHUNK)
        parts.append(_measured(images, first[chunk], second[chunk], threshold))
        if progress is not None:
            progress(done, len(starts))
    return joined(parts)


def _candidates(images: Images, *, seed: int) -> tuple[Indices, Indices]:
    from pynndescent import NNDescent  # its compiler takes ten seconds, spent only where it is needed

    basis = cosines(*images.shape[1:])
    plain = overlap(images, STILL)[0] @ basis
    mirrored = overlap(images[:, :, ::-1], STILL)[0] @ basis
    index = NNDescent(plain, n_neighbors=NEIGHBOURS + 1, random_state=seed, n_jobs=-1)
    found = [index.neighbor_graph[0], index.query(mirrored, k=NEIGHBOURS)[0]]
    here = np.concatenate([np.repeat(np.arange(len(images)), near.shape[1]) for near in found])
    there = np.concatenate([near.ravel() for near in found]).astype(np.int64)
    pairs = np.stack([np.minimum(here, there), np.maximum(here, there)], axis=1)
    pairs = np.unique(pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs[:, 0] >= 0)], axis=0)
    return pairs[:, 0], pairs[:, 1]


def _measured(images: Images, first: Indices, second: Indices, threshold: float) -> Matches:
    involved, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    left, right = np.split(place, 2)
    measured = similarity_of(images[involved], left, right, over=ALIGNMENTS)
    kept = measured.similarity >= threshold
    return Matches(first[kept], second[kept], measured.similarity[kept], measured.alignment[kept])
