"""What can happen to a mesh: each fault is a script that harms it for some time and then leaves it healed."""

import asyncio
import contextlib
import math
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gossip.config import SwimConfig
from tests.scenarios.mesh import Node
from tests.scenarios.net import DROP, REJECT, NetMesh

DISK_BYTES = 64 << 20
CONFIG = SwimConfig.local()
FLAP = 5.0


@dataclass
class Harm:
    """`seconds`: how long it is to last."""

    mesh: NetMesh
    rng: random.Random
    seconds: float

    @property
    def death(self) -> float:
        """Seconds of silence after which a node is dead to the others: found out, suspected, not refuted."""
        return 2 * CONFIG.probe_interval + CONFIG.suspicion_bounds(len(self.mesh.nodes))[0]

    def halves(self) -> tuple[list[str], list[str]]:
        names = self.rng.sample([node.name for node in self.mesh.nodes], len(self.mesh.nodes))
        return names[: len(names) // 2], names[len(names) // 2 :]

    def say(self, what: str) -> None:
        print(f"{time.strftime('%X')} {what}", flush=True)

    async def turns(self, least: float) -> AsyncIterator[Node]:
        """Nodes in random order, for as long as a turn of `least` seconds still fits, at least once."""
        end = time.monotonic() + self.seconds
        while True:
            yield self.rng.choice(self.mesh.nodes)
            if time.monotonic() + least > end:
                break


Fault = Callable[[Harm], Awaitable[None]]


async def kill_one(harm: Harm) -> None:
    """One after another is killed and started again when the others have gone on without it."""
    async for node in harm.turns(10):
        harm.say(f"kill {node.name}")
        node.send(signal.SIGKILL, workers=harm.rng.random() < 0.5)
        await node.ended()
        await asyncio.sleep(harm.rng.uniform(0, 3 * harm.death))
        await harm.mesh.start(node)
        await asyncio.sleep(harm.rng.uniform(2, 6))


async def kill_all(harm: Harm) -> None:
    """All at once; they come back in random order, some later than others."""
    async for _ in harm.turns(20):
        await asyncio.sleep(harm.rng.uniform(2, 5))
        order = harm.rng.sample(harm.mesh.nodes, len(harm.mesh.nodes))
        harm.say(f"kill all, start {' '.join(node.name for node in order)}")
        for node in harm.mesh.nodes:
            node.send(signal.SIGKILL, workers=True)
        await asyncio.gather(*(node.ended() for node in order))
        for node in order:
            await harm.mesh.start(node)
            await asyncio.sleep(harm.rng.uniform(0, 1))
        await asyncio.sleep(5)


async def move(harm: Harm) -> None:
    """One after another, and at last all at once, come back at addresses that they never had."""
    end = time.monotonic() + harm.seconds
    async for node in harm.turns(max(10, harm.seconds / 2)):
        await _down(harm, node)
        harm.mesh.move(node)
        await harm.mesh.start(node)
        await asyncio.sleep(harm.rng.uniform(2, 6))
    for node in harm.mesh.nodes:
        node.send(signal.SIGKILL, workers=True)
    await asyncio.gather(*(node.ended() for node in harm.mesh.nodes))
    harm.mesh.move(*harm.mesh.nodes)
    harm.say("all are killed and start elsewhere")
    await asyncio.gather(*map(harm.mesh.start, harm.mesh.nodes))
    await asyncio.sleep(max(3.0, end - time.monotonic()))


def stop(share: float) -> Fault:
    """SIGSTOP one after another, each for this share of the time after which it is declared dead."""

    async def fault(harm: Harm) -> None:
        pause = share * harm.death
        async for node in harm.turns(pause + 4):
            whole = harm.rng.random() < 0.5
            harm.say(f"stop {node.name} for {pause:.2f} s, with its workers: {whole}")
            node.send(signal.SIGSTOP, workers=whole)
            await asyncio.sleep(pause)
            node.send(signal.SIGCONT, workers=whole)
            await asyncio.sleep(harm.rng.uniform(1, 4))

    return fault


def halves(how: Sequence[str]) -> Fault:
    async def fault(harm: Harm) -> None:
        one, other = harm.halves()
        async with _cut(harm, one, other):
            harm.mesh.net.cut(one, other, how)

    return fault


async def isolate(harm: Harm) -> None:
    """One node alone."""
    one, *rest = (node.name for node in harm.rng.sample(harm.mesh.nodes, len(harm.mesh.nodes)))
    async with _cut(harm, [one], rest):
        harm.mesh.net.cut([one], rest)


async def one_way(harm: Harm) -> None:
    """One node hears none of the others, which hear it."""
    one, *rest = (node.name for node in harm.rng.sample(harm.mesh.nodes, len(harm.mesh.nodes)))
    async with _cut(harm, [one], rest, "is deaf to"):
        harm.mesh.net.deafen(one, rest)


async def bridge(harm: Harm) -> None:
    """Two sides that do not hear each other, and one node that both hear."""
    middle, *rest = (node.name for node in harm.rng.sample(harm.mesh.nodes, len(harm.mesh.nodes)))
    half = math.ceil(len(rest) / 2)
    async with _cut(harm, rest[:half], rest[half:], f"is cut by {middle} from"):
        harm.mesh.net.cut(rest[:half], rest[half:])


async def flap(harm: Harm) -> None:
    """Halves, cut and joined every five seconds."""
    one, other = harm.halves()
    for _ in range(max(1, round(harm.seconds / (2 * FLAP)))):
        harm.say(f"{one} | {other} for {FLAP:g} s")
        harm.mesh.net.cut(one, other)
        await asyncio.sleep(FLAP)
        harm.mesh.net.heal()
        await asyncio.sleep(FLAP)


async def full_disk(harm: Harm) -> None:
    """The disk of the first node, a small one (`small_disk`), is full for a third of the time."""
    node = harm.mesh.nodes[0]
    ballast = node.data / "ballast"
    await asyncio.sleep(harm.seconds / 3)
    left = harm.rng.choice([0, 256 << 10])
    harm.say(f"all but {left} bytes of the disk of {node.name} are taken")
    with contextlib.suppress(OSError), ballast.open("wb") as out:
        out.write(bytes(max(0, shutil.disk_usage(node.data).free - left)))
    await asyncio.sleep(harm.seconds / 3)
    ballast.unlink()
    harm.say("freed")
    await asyncio.sleep(harm.seconds / 3)


async def old_backup(harm: Harm) -> None:
    """A copy is made of a stopped node's data; later it is put in the place of what the node has by then."""
    node = harm.rng.choice(harm.mesh.nodes)
    copy = node.data.with_name(f"{node.name}.backup")
    await _down(harm, node)
    shutil.copytree(node.data, copy)
    await harm.mesh.start(node)
    harm.say(f"{node.name} is copied and goes on")
    await asyncio.sleep(harm.seconds / 2)
    await _down(harm, node)
    await asyncio.sleep(harm.rng.uniform(0, 2 * harm.death))
    shutil.rmtree(node.data)
    copy.rename(node.data)
    harm.say(f"{node.name} comes back with its old data")
    await harm.mesh.start(node)
    await asyncio.sleep(harm.seconds / 2)


async def _down(harm: Harm, node: Node) -> None:
    """In order, or killed."""
    orderly = harm.rng.random() < 0.5
    harm.say(f"{node.name} goes down, in order: {orderly}")
    node.send(signal.SIGTERM if orderly else signal.SIGKILL, workers=not orderly)
    await node.ended()


@asynccontextmanager
async def _cut(
    harm: Harm, one: Sequence[str], other: Sequence[str], how: str = "is cut off from"
) -> AsyncIterator[None]:
    """Cut for two thirds of the time, in the middle of it."""
    await asyncio.sleep(harm.seconds / 6)
    harm.say(f"{' '.join(one)} {how} {' '.join(other)}")
    yield
    await asyncio.sleep(harm.seconds * 2 / 3)
    harm.mesh.net.heal()
    harm.say("healed")
    await asyncio.sleep(max(harm.seconds / 6, 5.0))
    harm.say(
        f"nodes declared dead by one on their own side: {_false_deaths(harm, one) + _false_deaths(harm, other)}"
    )


def _false_deaths(harm: Harm, side: Sequence[str]) -> int:
    """How often those who could hear each other all the time have held one another for dead."""
    count = 0
    for node in map(harm.mesh.node, side):
        text = node.log.read_text(errors="replace")
        count += sum(len(re.findall(f"node={name} state=dead", text)) for name in side)
    return count


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of its own for this folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


FAULTS: dict[str, Fault] = {
    "kill-one": kill_one,
    "kill-all": kill_all,
    "move": move,
    "stop-0.5": stop(0.5),
    "stop-1": stop(1),
    "stop-1.5": stop(1.5),
    "stop-3": stop(3),
    "drop-halves": halves(DROP),
    "reject-halves": halves(REJECT),
    "isolate": isolate,
    "one-way": one_way,
    "bridge": bridge,
    "flap": flap,
    "full-disk": full_disk,
    "old-backup": old_backup,
}
SMALL_DISK = frozenset({"full-disk"})
