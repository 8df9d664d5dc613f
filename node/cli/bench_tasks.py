"""`collect bench tasks`: many small tasks through the same path as any other, and control meanwhile."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from node.cli.bench_control import ControlLoad
from node.cli.contexts import Target, target
from node.cli.failures import FAILED, OK, USAGE, Failure
from node.cli.output import facts
from node.cli.session import HERE, Reach, speak
from node.schema import TERMINAL, Cluster

if TYPE_CHECKING:
    from node.client import Client

POLL = 0.25
SAMPLE = 200
"""Ids that are asked for afterwards."""


def tasks(
    *,
    tasks: int = 100_000,
    batch: int = 500,
    connections: int = 4,
    durability: int | None = None,
    timeout: float = 600.0,
    seed: int = 1,
    reach: Reach = HERE,
) -> int:
    """Submit many tasks in bulk, wait for all, and print the rates.

    Each task reads one record from the `bench` collector into the `discard` sink, with options of about
    200 bytes of its own. A control client gets, lists, pauses, reprioritises and cancels some meanwhile.

    Parameters
    ----------
    tasks: How many.
    batch: Tasks of one request.
    connections: Requests under way at once, spread over the nodes.
    durability: Disks that must hold a task before the answer, 1 or 2 (default: the node's).
    timeout: Seconds after which to give up.
    seed: Of the choice of controls.
    """
    if min(tasks, batch, connections) < 1:
        raise Failure("--tasks, --batch and --connections are at least 1", USAGE)
    aim = target(reach.url, reach.token_file, reach.context)
    return speak(
        reach,
        lambda client: Bench(client, aim, durability, random.Random(seed)).run(
            tasks, batch, connections, timeout
        ),
    )


def line(number: int) -> bytes:
    """One task; its payload is its own and about 200 bytes long."""
    payload = f"{number:012d}-" + f"{number * 2654435761 % 2**64:016x}" * 11 + "0123456789"
    spec = {"source": {"plugin": "bench", "payload": payload, "records": 1}, "sink": {"plugin": "discard"}}
    return msgspec.json.encode(spec)


class Bench:
    """One measurement against one mesh."""

    def __init__(self, client: "Client", aim: Target, durability: int | None, chance: random.Random) -> None:
        self.client = client
        self.aim = aim
        self.durability = durability
        self.chance = chance
        self.ids: list[str] = []
        self.achieved = 2

    async def run(self, total: int, batch: int, connections: int, timeout: float) -> int:  # noqa: ASYNC109
        before = await self.client.cluster()
        bodies = [
            b"\n".join(map(line, range(start, min(start + batch, total)))) for start in range(0, total, batch)
        ]
        control = ControlLoad(self.client, self.ids, self.chance, ending=True)
        try:
            async with running(control), asyncio.timeout(timeout):
                start = perf_counter()
                await self._submit_all(bodies, self.client.urls, connections)
                submitted = perf_counter() - start
                await self._all_ended(ended(before) + len(self.ids))
                completed = perf_counter() - start
        except TimeoutError:
            told = f"{len(self.ids):,} tasks were accepted, but not all had ended"
            raise Failure(f"{told} after {timeout:g} s") from None
        lost = await self._lost()
        rates = {
            "nodes": str(sum(node.state == "alive" for node in before.nodes)),
            "tasks": f"{len(self.ids):,} of {total:,} accepted, on {self.achieved} disks",
            "submit": f"{len(self.ids) / submitted:,.0f} tasks/s ({submitted:.1f} s)",
            "complete": f"{len(self.ids) / completed:,.0f} tasks/s ({completed:.1f} s)",
            **control.report(),
            "afterwards": f"{min(SAMPLE, len(self.ids))} ids asked for, {len(lost)} not found or not ended",
        }
        print(facts(rates))
        return OK if len(self.ids) == total and not lost else FAILED

    async def _submit_all(self, bodies: Sequence[bytes], urls: Sequence[str], connections: int) -> None:
        """`connections` clients take the bodies in turn; each begins at another node."""
        from node.client import Client

        waiting = iter(bodies)

        async def work(first: int) -> None:
            order = [*urls[first % len(urls) :], *urls[: first % len(urls)]]
            async with Client(order, self.aim.token) as client:
                for body in waiting:
                    answer = await client.submit_batch(body, durability=self.durability)
                    self.ids += [ref for ref in answer.ids if ref is not None]
                    self.achieved = min(self.achieved, answer.durability)

        await asyncio.gather(*map(work, range(connections)))

    async def _all_ended(self, wanted: int) -> None:
        while ended(await self.client.cluster()) < wanted:
            await asyncio.sleep(POLL)

    async def _lost(self) -> list[str]:
        """Of a sample of ids, those that no node knows or that have not ended."""
        from node.client import ProblemError

        lost = []
        for ref in self.chance.sample(self.ids, min(SAMPLE, len(self.ids))):
            try:
                if (await self.client.task(ref)).state not in TERMINAL:
                    lost.append(ref)
            except ProblemError:
                lost.append(ref)
        return lost


def ended(cluster: Cluster) -> int:
    return sum(count for state, count in cluster.tasks.items() if state in TERMINAL)


@asynccontextmanager
async def running(control: ControlLoad) -> AsyncIterator[None]:
    """The control load runs while inside; its own failure ends the measurement."""
    task: asyncio.Task[Any] = asyncio.create_task(control.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
