"""Which rows of a corpus a canary scores: a pure function of the seed, the file and the row.

So whoever asks, worker, another attempt or `verify`, gets the same rows, whatever the chunks.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from schemas.job import Canary, JobSpec

# The constants of SplitMix64: https://doi.org/10.1145/2714064.2660195
_GAMMA, _MIX_1, _MIX_2 = (
    np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def sampled(canary: Canary, file: str, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of rows of a file, by their numbers [rows], which are in the sample [rows]."""
    key = hashlib.sha256(f"{canary.seed}\0{file}".encode()).digest()[:8]
    state = np.uint64(int.from_bytes(key, "little")) + rows.astype(np.uint64) * _GAMMA
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    state ^= state >> np.uint64(31)
    uniform = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    inside: NDArray[np.bool_] = uniform < canary.percent / 100
    return inside


def samples_of(
    spec: JobSpec, file: str, rows: NDArray[np.int64]
) -> tuple[NDArray[np.bool_] | None, ...]:
    """Return for each model of a job which of the rows it scores; None for all of them."""
    if spec.canary is None:
        return (None,) * len(spec.models)
    return None, sampled(spec.canary, file, rows)
