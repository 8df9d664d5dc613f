"""Whether replicas agree. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from node.schema import Finding
from sharding.region import LOCAL, shown

View = tuple[bytes, bytes]
"""(hash of the heads, content hash) of a slot on one node."""
Heads = Mapping[str, int]
"""author -> sequence"""

Batches = tuple[int, Sequence[tuple[str, int | None]], Sequence[str]]
"""(since, archived, alive) of a slot on one node: an archived batch with the time of its end in ms, None where it
stays; what ended after `since` is still kept."""

NOTHING: View = (b"", b"")


def unequal(views: Mapping[str, Mapping[int, View]], replicas: Callable[[int], Sequence[str]]) -> list[int]:
    """The slots on whose content their replicas, as far as they answered, do not agree."""
    slots = {slot for held in views.values() for slot in held}
    return sorted(
        slot
        for slot in slots
        if len({views[node].get(slot, NOTHING) for node in replicas(slot) if node in views}) > 1
    )


def most(heads: Iterable[Heads]) -> dict[str, int]:
    """The largest sequence of each author that any node holds."""
    found: dict[str, int] = {}
    for held in heads:
        for author, seq in held.items():
            found[author] = max(seq, found.get(author, 0))
    return found


def gone(
    views: Mapping[str, Mapping[int, Batches]], replicas: Callable[[int], Sequence[str]]
) -> dict[tuple[int, str, str], str]:
    """`(slot, node, batch)` of what a replica does not know, though it should -> a replica that has it archived."""
    found = {}
    for slot in sorted({slot for held in views.values() for slot in held}):
        owners = {node: views[node][slot] for node in replicas(slot) if slot in views.get(node, {})}
        archived = {row[0]: (row[1], node) for node, (_, rows, _) in owners.items() for row in rows}
        for node, (since, rows, alive) in owners.items():
            known = {row[0] for row in rows}.union(alive)
            for batch in sorted(archived.keys() - known):
                ended, other = archived[batch]
                if ended is None or ended > since:
                    found[slot, node, batch] = other
    return found


def behind(slot: int, known: Heads, now: Mapping[str, Heads]) -> list[Finding]:
    """Who still lacks what was known on some node before the last look. `now`: node -> its heads."""
    return [
        Finding(
            kind="replica",
            node=node,
            slot=shown(slot, LOCAL),
            what=f"lacks envelopes {held.get(author, 0) + 1} to {seq} of {author}",
            remedy="if it does not catch up, repair the log of a node that holds them: collect verify --repair",
        )
        for node, held in sorted(now.items())
        for author, seq in sorted(known.items())
        if held.get(author, 0) < seq
    ]


def diverged(slot: int, views: Mapping[str, View]) -> list[Finding]:
    """Nodes with the same heads and other content."""
    found = []
    for heads in sorted({view[0] for view in views.values()}):
        contents = {node: view[1] for node, view in views.items() if view[0] == heads}
        if len(set(contents.values())) > 1:
            found.append(_differ(slot, contents))
    return found


def _differ(slot: int, contents: Mapping[str, bytes]) -> Finding:
    each = ", ".join(f"{node}: {content.hex()[:8]}" for node, content in sorted(contents.items()))
    return Finding(
        kind="content",
        slot=shown(slot, LOCAL),
        what=f"replicas differ under equal heads ({each})",
        remedy="stop the node that is wrong, move log and archive.sqlite in its data directory aside, and start it: it "
        "fetches everything from the others",
    )
