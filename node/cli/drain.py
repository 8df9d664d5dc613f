"""Emptying a node, and forgetting one that is gone for good: a live bar on a terminal, lines elsewhere."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import asyncio
import os
import sys
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Protocol

from cyclopts import Parameter

from node.cli.failures import OK, USAGE, Failure, clean
from node.cli.session import HERE, Reach, speak
from node.cli.watch import PATIENCE, POLL, QUIET
from node.schema import Drain, Node

if TYPE_CHECKING:
    from node.client import Client


class Display(Protocol):
    """Where progress is shown."""

    def update(self, name: str, drain: Drain) -> None: ...
    def close(self) -> None: ...


def drain(
    ref: Annotated[str, Parameter(name="node")],
    /,
    *,
    cancel: Annotated[bool, Parameter(negative="")] = False,
    forget: Annotated[bool, Parameter(negative="")] = False,
    wait: bool = True,
    reach: Reach = HERE,
) -> int:
    """Move everything away from a node, until it may be stopped.

    It takes no more work, hands its slots over, and keeps its copies until others hold them on disk. It stays drained
    over restarts.

    Parameters
    ----------
    ref: The node: its name, its id, or a unique prefix of the id.
    cancel: Take the drain back.
    forget: The node is dead, or has left, and is gone for good: others take over its copies now, instead of after ten
        minutes, and the majorities of locks count it no more.
    wait: Wait to the end, and show progress.
    """
    if cancel and forget:
        raise Failure("--cancel or --forget: not both", USAGE)
    if forget:
        node = speak(reach, lambda client: client.forget_node(ref))
        print(f"node {clean(node.name)} ({node.id}) is forgotten; if it comes back, it joins anew")
        return OK
    if cancel:
        node = speak(reach, lambda client: client.drain_node(ref, cancel=True))
        print(f"node {clean(node.name)} is not drained any more; it gets its share of the slots back")
        return OK
    return speak(reach, lambda client: _drain(client, ref, wait=wait))


async def _drain(client: "Client", ref: str, *, wait: bool) -> int:
    node = await client.drain_node(ref)
    if not wait:
        print(f"node {clean(node.name)} is being drained; `collect cluster` shows how far it is")
        return OK
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    display: Display = Bar() if live else Lines()
    try:
        node = await _follow(client, node, display)
    finally:
        display.close()
    print(f"node {clean(node.name)} is drained: everything is elsewhere, it is safe to stop")
    return OK


async def _follow(client: "Client", node: Node, display: Display) -> Node:
    """Look until all is done. Raises Failure when the node goes, or somebody takes the drain back."""
    heard = monotonic()
    while node.drain is None or not node.drain.done:
        if node.drain is not None:
            heard = monotonic()
            display.update(clean(node.name), node.drain)
            if node.drain.problem:
                raise Failure(
                    f"node {node.name} is not empty: {node.drain.problem}; the drain goes on when that is done"
                )
        elif monotonic() - heard > PATIENCE:
            raise Failure(f"node {node.name} does not say how far it is; the drain goes on if it is alive")
        await asyncio.sleep(POLL)
        found = next((one for one in (await client.cluster()).nodes if one.id == node.id), None)
        if found is None or found.state not in ("alive", "suspect"):
            state = found.state if found is not None else "gone"
            raise Failure(
                f"node {node.name} is {state}, and was not empty; it goes on when it is started again"
            )
        if not found.draining and found.drain is None and monotonic() - heard > QUIET:
            raise Failure(f"the drain of node {node.name} was taken back")
        node = found
    display.update(clean(node.name), node.drain)
    return node


def share(drain: Drain) -> float:
    """How much is done, 0 to 1: of copies and slots alike, and then of what runs."""
    if not drain.total:
        return 1.0 if drain.done else 0.0
    left = (drain.copies + drain.slots) / (2 * drain.total)
    return min(1.0 if drain.done else 0.99, max(0.0, 1.0 - left))


def line(drain: Drain) -> str:
    """What is left to do."""
    parts = [
        f"{drain.slots:,} slots to hand over",
        f"{drain.copies:,} of {drain.total:,} copies not yet elsewhere",
    ]
    parts.append(f"{drain.running:,} jobs running")
    if drain.voting:
        parts.append("still a voter on locks")
    if drain.waits_for:
        names = ", ".join(clean(name) for name in drain.waits_for)
        parts.append(f"waits for {names}, dead (gone for good: --forget)")
    return "  ".join(parts)


class Lines:
    """Off a terminal: a line when something changed."""

    def __init__(self) -> None:
        self.said, self.at = "", 0.0

    def update(self, name: str, drain: Drain) -> None:
        text = f"{name}  {share(drain):.0%}  {line(drain)}"
        if text != self.said or monotonic() - self.at >= QUIET:
            self.said, self.at = text, monotonic()
            print(text, flush=True)

    def close(self) -> None:
        """Every line is out already."""


class Bar:
    """On a terminal: one bar, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}", markup=False),
            console=Console(highlight=False),
            refresh_per_second=4,
        )
        self.row = self.progress.add_task("", total=1.0, figures="")
        self.progress.start()

    def update(self, name: str, drain: Drain) -> None:
        self.progress.update(self.row, description=name, completed=share(drain), figures=line(drain))
        self.progress.refresh()

    def close(self) -> None:
        self.progress.stop()
