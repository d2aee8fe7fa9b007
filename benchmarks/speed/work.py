"""How much work there is: the operations that a transformer encoder cannot do without."""

import numpy as np
from numpy.typing import NDArray


def useful_flops(
    lengths: NDArray[np.int64], *, layers: int, width: int, inner: int
) -> NDArray[np.int64]:
    """Return the floating-point operations [documents] that documents of these lengths need.

    A multiplication and an addition are two. Per layer and document of n tokens: 2n·(4H² + 2HI) in
    the products and 4n²H in attention. Of the last layer, from which a classifier reads the first
    token alone, only keys and values are needed for the others. Padding is not counted, so that
    who pads does not look good by wasting; nor is anything that is no product.

    Args:
        lengths: Tokens of each document, special ones included.
        layers: How many layers the encoder has.
        width: H, of the hidden states.
        inner: I, of the feed-forward part.
    """
    n = lengths.astype(np.int64)
    whole = 2 * n * (4 * width**2 + 2 * width * inner) + 4 * n**2 * width
    keys_and_values = 2 * n * 2 * width**2
    first_token = 2 * (2 * width**2 + 2 * width * inner) + 4 * n * width
    return (layers - 1) * whole + keys_and_values + first_token
