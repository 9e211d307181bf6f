"""The groups of the table by name, in its order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import rows, systems
from .rows import Row
from .timing import Budget

GROUPS: dict[str, Callable[[Budget], Iterator[Row]]] = {
    function.__name__: function
    for function in (
        *(rows.event_stream, rows.background, rows.scalar, rows.pettingzoo, rows.devices, rows.memory, rows.resets),
        *(systems.caching, systems.market, systems.experts, rows.learners),
    )
}
