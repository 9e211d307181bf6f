"""What items pay for memory in training, so that an item's own advantage counts what it takes from the others.

An item that is credited with its own cost alone wants memory whenever that is worth anything to *it*, and items then
outbid each other without end. Here scores are bids per memory, and whoever holds memory pays for it, in the currency of
the costs: a part of the highest bid below its own that was turned away, which is about what the memory would have been
worth to another one, and a part of its own bid, without which the holders can bid far above their worth for ever, so
that nobody else tries.

The first part is exact where all sizes are equal: it then is the critical price, at which it is best to bid what the
memory is worth. With unequal sizes it is a heuristic: of a greedy auction's critical price only bids count that were
turned away because of the holder, and where several small holders keep a large one out together none of them does.

*Source*: Lehmann, O'Callaghan, Shoham 2002, "Truth revelation in approximately efficient combinatorial auctions"
(greedy allocation, critical prices); the uniform price for unequal sizes is ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def payments(
    bids: NDArray[np.floating[Any]], sizes: NDArray[np.floating[Any]], held: NDArray[np.bool_], own: float
) -> NDArray[np.float32]:
    """What every item pays in a slot, shape (n, I), at least 0; nothing where it holds no memory.

    Args:
        bids: for the whole memory, shape (n, I); not above 0: no bid.
        sizes: shares of the memory, shape (n, I).
        held: which items got their share; they were served in the order of the bids, what did not fit was passed over.
        own: weight of the own bid in the price, in [0, 1].
    """
    refused = np.where(held, 0.0, np.maximum(bids, 0.0))
    below = refused[:, None, :] < bids[:, :, None]
    critical = np.where(below, refused[:, None, :], 0.0).max(axis=-1)
    price = own * np.maximum(bids, 0.0) + (1.0 - own) * critical
    return np.asarray(np.where(held, sizes * price, 0.0), np.float32)
