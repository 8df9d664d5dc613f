"""The standing warning while anything has fewer replicas than it should: which slots, whose fault, what to do."""

from collections.abc import Iterable
from typing import Any

from structlog import get_logger

from gossip.identity import NodeId
from gossip.member import State
from node.core import Core
from node.stewardship.custody import Short

log = get_logger(__name__)

LASTING = 2
"""Looks in a row, of which each is some seconds, before the log says anything: newcomers are seen in passing."""


def told(short: Short) -> dict[str, Any]:
    """One node's part, for the others; plain data."""
    return {"slots": short.slots, "dead": short.dead, "copying": short.copying}


def warnings(core: Core, parts: Iterable[Any]) -> list[str]:
    """For people, from the parts of all nodes that answered."""
    slots, dead, copying = 0, dict[NodeId, int](), dict[NodeId, int]()
    for part in parts:
        if not part:
            continue  # an earlier version
        slots += part["slots"]
        for found, told_of in ((dead, part["dead"]), (copying, part["copying"])):
            for node, count in told_of.items():
                found[NodeId(node)] = found.get(NodeId(node), 0) + count
    if not slots:
        return []
    said = [f"{slots:,} slots with data have fewer than {core.custody.wanted()} copies"]
    said += [_missed(core, node, count) for node, count in sorted(dead.items())]
    said += [
        f"{count:,} are being copied to node {_name(core, node)}" for node, count in sorted(copying.items())
    ]
    return ["; ".join(said)]


class Watch:
    """Says in the log when slots of this node begin and end to have too few copies."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._looks = 0

    def look(self) -> None:
        short = self._core.custody.short()
        if short.slots:
            self._looks += 1
            if self._looks == LASTING:
                names = sorted(_name(self._core, node) for node in short.dead)
                log.warning(
                    "slots have fewer copies than they should", slots=short.slots, dead=", ".join(names)
                )
            return
        if self._looks >= LASTING:
            log.info("all slots have their copies again")
        self._looks = 0


def _missed(core: Core, node: NodeId, count: int) -> str:
    """How long the dead node is waited for."""
    name, left = _name(core, node), 0.0
    member = core.ownership.members.get(node)
    if member is not None and member.state is State.DEAD:
        left = max(0.0, member.since + core.config.ownership.replace_after - core.now)
    wait = f"it is waited for, {left / 60:.0f} min more"
    return f"{count:,} miss node {name}, which is dead: {wait}, or until `collect drain {name} --forget`"


def _name(core: Core, node: NodeId) -> str:
    member = core.ownership.members.get(node)
    return member.meta.name if member is not None else node
