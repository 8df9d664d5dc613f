"""In which region a new task is at home: the one that it is pinned to, else the one of the node that was asked."""

from collections.abc import Sequence

from node.stewardship.specs import decode_spec


def pinned(specs: Sequence[bytes]) -> str | None:
    """The region that all specs of a submit name; None where they do not agree on one."""
    if any(b'"region"' not in raw for raw in specs):
        return None
    named = {decode_spec(raw).placement.region for raw in specs}
    return named.pop() if len(named) == 1 else None
