"""Finds the smallest size that is good enough, in few tries."""

from collections.abc import Callable, Sequence


def smallest(sizes: Sequence[int], passes: Callable[[int], bool]) -> int | None:
    """Return the smallest of `sizes` that passes, None if none does.

    Halves the sizes until one is left: about log2 tries, each of which may be a training. Where
    a larger size does worse than a smaller one, what is returned has passed all the same, and
    may not be the smallest.

    Args:
        sizes: In rising order.
        passes: Says of a size whether it is good enough; asked once for each at most.
    """
    low, high, best = 0, len(sizes), None
    while low < high:
        middle = (low + high) // 2
        if passes(sizes[middle]):
            best, high = sizes[middle], middle
        else:
            low = middle + 1
    return best
