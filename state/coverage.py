"""Arithmetic of half-open ranges `[from, to)` in one ordered domain. Pure; bounds are compared as they are
given.

`order` maps a bound to something comparable (instants and numbers come as strings too); default: itself.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Interval = tuple[Any, Any]


def _same(value: Any) -> Any:
    return value


def joined(ranges: Iterable[Interval], order: Callable[[Any], Any] = _same) -> list[Interval]:
    """The same set of points as sorted, disjoint, non-touching, non-empty ranges."""
    result: list[Interval] = []
    for start, end in sorted(ranges, key=lambda r: (order(r[0]), order(r[1]))):
        if not order(start) < order(end):
            continue
        if result and order(start) <= order(result[-1][1]):
            if order(end) > order(result[-1][1]):
                result[-1] = (result[-1][0], end)
        else:
            result.append((start, end))
    return result


def gaps(
    wanted: Sequence[Interval], covered: Iterable[Interval], order: Callable[[Any], Any] = _same
) -> list[Interval]:
    """What of `wanted` no covered range holds."""
    have = joined(covered, order)
    result: list[Interval] = []
    for start, end in joined(wanted, order):
        at = start
        for low, high in have:
            if order(high) <= order(at) or order(low) >= order(end):
                continue
            if order(low) > order(at):
                result.append((at, low))
            at = high
        if order(at) < order(end):
            result.append((at, end))
    return result


def overlaps(covered: Iterable[Interval], order: Callable[[Any], Any] = _same) -> list[Interval]:
    """What is covered more than once."""
    result: list[Interval] = []
    reach: Any = None
    for start, end in sorted(covered, key=lambda r: (order(r[0]), order(r[1]))):
        if not order(start) < order(end):
            continue
        if reach is not None and order(start) < order(reach):
            result.append((start, end if order(end) < order(reach) else reach))
        if reach is None or order(end) > order(reach):
            reach = end
    return joined(result, order)
