"""How fast and how quiet membership is: the figures, taken from the machine that ships.

`python -m tests.sim.membership --n 3 10 100 1000 --loss 0 5 25 --seeds 20` prints the table that stands in
`docs/membership.md`; each value is the median over the seeds, except where the head says otherwise. Runs on
one core; n = 1000 takes some minutes a seed.
"""

import argparse
import gc
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import msgspec

from gossip.config import SwimConfig
from gossip.effects import SetMeta
from gossip.identity import NodeId
from gossip.member import State
from tests.sim.membership import Mesh, Seen
from tests.sim.network import Link

PROFILES = {"lan": SwimConfig.lan, "wan": SwimConfig.wan, "local": SwimConfig.local}
WORK = 6000.0
"""Node-seconds of idling in one seed; a large mesh needs fewer seconds for as many messages."""
FROZEN = 60.0
"""Seconds that members freeze and thaw in turn, in probe intervals."""
HEAL_LIMIT = 300.0
PARTS = ("idle", "change", "crash", "frozen", "heal")


@dataclass
class Figures:
    """Seconds, but for `idle` (messages per node and second), and the deaths and node-hours.

    `stalled`: deaths per run among members that stand still 2 s of 2.5; `stopped`: 8 s of 9.
    """

    idle: list[float] = field(default_factory=list)
    half: list[float] = field(default_factory=list)
    everybody: list[float] = field(default_factory=list)
    suspected: list[float] = field(default_factory=list)
    dead: list[float] = field(default_factory=list)
    known: list[float] = field(default_factory=list)
    stalled: list[float] = field(default_factory=list)
    stopped: list[float] = field(default_factory=list)
    healed: list[float] = field(default_factory=list)
    false_deaths: int = 0
    idle_hours: float = 0.0
    handled: int = 0
    seconds: float = 0.0
    seeds: int = 0


def settled(n: int, seed: int, config: SwimConfig, link: Link) -> Mesh:
    """n nodes that know each other as if they had for long: no news under way, probes out of step."""
    mesh = Mesh(seed, config=config, link=link)
    nodes = [NodeId(f"n{number}") for number in range(n)]
    for node in nodes:
        mesh.start(node)
    cores = [mesh.live[node].swim._core for node in nodes]
    for core in cores:
        for other in cores:
            if other is not core:
                core.table.put(other.own, other.table.metas[other.me])
    mesh.clock.run_for(3 * config.probe_interval)
    return mesh


def idle(mesh: Mesh, figures: Figures) -> None:
    """After the first push-pull of each node, which all have within its base interval."""
    n = len(mesh.live)
    mesh.clock.run_for(mesh.config.sync_interval)
    seconds = max(10.0, min(60.0, WORK / n)) * mesh.config.probe_interval
    before, start = mesh.network.kinds["sent"], len(mesh.buried)
    mesh.clock.run_for(seconds)
    figures.idle.append((mesh.network.kinds["sent"] - before) / n / seconds)
    figures.false_deaths += len(mesh.buried) - start
    figures.idle_hours += n * seconds / 3600


def change(mesh: Mesh, figures: Figures) -> None:
    """A random node changes its meta; who has not heard of it after twenty rounds of gossip counts as never."""
    for _ in range(_rounds(len(mesh.live))):
        node = mesh.rng.choice(sorted(mesh.live))
        own = mesh.live[node].swim.members[node]
        start, first = mesh.clock.now, len(mesh.changes)
        mesh.tell(node, SetMeta(msgspec.structs.replace(own.meta, weight=own.meta.weight + 1)))
        mesh.clock.run_for(20 * mesh.config.gossip_interval)
        seen = [one for one in mesh.changes[first:] if one.changed.member.id == node]
        weights = {one.observer: one.at - start for one in reversed(seen) if one.observer != node}
        times, others = sorted(weights.values()), len(mesh.live) - 1
        times += [math.inf] * (others - len(times))
        figures.half.append(times[(others - 1) // 2])
        figures.everybody.append(times[others - 1])


def crash(mesh: Mesh, figures: Figures) -> None:
    """Random nodes stop without a word, one after another; each comes back when all know."""
    for _ in range(_rounds(len(mesh.live))):
        node = mesh.rng.choice(sorted(mesh.live))
        start, first = mesh.clock.now, len(mesh.changes)
        contacts = mesh.crash(node)
        _run_while(mesh, lambda: not _all_bury(mesh, node), limit=120, step=0.1)  # noqa: B023  (called at once)
        seen = [one for one in mesh.changes[first:] if one.changed.member.id == node]
        deaths = seen_at(seen, State.DEAD)
        if suspected := seen_at(seen, State.SUSPECT):
            figures.suspected.append(min(suspected) - start)
        if deaths:
            figures.dead.append(min(deaths) - start)
            figures.known.append(max(deaths) - start)
        mesh.start(node, contacts=contacts)
        mesh.clock.run_for(10 * mesh.config.probe_interval)


def _all_bury(mesh: Mesh, node: NodeId) -> bool:
    for observer in mesh.live:
        belief = mesh.member(observer, node)
        if belief is None or belief.state is not State.DEAD:
            return False
    return True


def frozen(mesh: Mesh, figures: Figures) -> None:
    """Some members stand still and run in turn; every death that anybody tells of is a false one.

    A suspicion lasts at least 4 s up to ten members, 8 s at a hundred: only there is standing still for 8 s
    to be survived.
    """
    n = len(mesh.live)
    seconds = FROZEN if n <= 100 else FROZEN / 2
    few = min(16, max(1, n // 6))
    figures.stalled.append(_stand_still(mesh, few, still=2.0, running=0.5, seconds=seconds))
    if n >= 100:
        figures.stopped.append(_stand_still(mesh, few, still=8.0, running=1.0, seconds=seconds))


def _stand_still(mesh: Mesh, count: int, *, still: float, running: float, seconds: float) -> int:
    interval, first = mesh.config.probe_interval, len(mesh.changes)
    chosen = mesh.rng.sample(sorted(mesh.live), count)
    end = mesh.clock.now + seconds * interval

    def stop(node: NodeId) -> None:
        mesh.freeze(node)
        mesh.clock.after(still * interval, lambda: go_on(node))

    def go_on(node: NodeId) -> None:
        mesh.thaw(node)
        if mesh.clock.now < end:
            mesh.clock.after(running * interval, lambda: stop(node))

    for node in chosen:
        mesh.clock.after(mesh.rng.random() * (still + running) * interval, partial(stop, node))
    mesh.clock.run_for((seconds + 2 * (still + running)) * interval)
    return len(seen_at(mesh.changes[first:], State.DEAD))


def heal(mesh: Mesh, figures: Figures) -> None:
    """Two halves (of a thousand: twenty and the rest) are cut until each has buried the other, and joined."""
    n, config = len(mesh.live), mesh.config
    nodes = sorted(mesh.live)
    mesh.rng.shuffle(nodes)
    few = nodes[: min(n // 2, 20) if n > 100 else n // 2]
    sides = [[mesh.addresses[node] for node in side] for side in (few, nodes[len(few) :])]
    mesh.network.split(*sides)
    both = [(len(few), set(few)), (n - len(few), set(nodes) - set(few))]

    def apart() -> bool:
        return all(mesh.live[node].swim._core.table.live == size for size, side in both for node in side)

    _run_while(mesh, lambda: not apart(), limit=HEAL_LIMIT, step=1.0)
    mesh.clock.run_for(10 * config.probe_interval)
    mesh.network.heal()
    figures.healed.append(_run_while(mesh, lambda: not _whole(mesh), limit=HEAL_LIMIT, step=0.25))


def _whole(mesh: Mesh) -> bool:
    """Nobody holds anybody for dead. Under loss somebody is suspected at almost any time; that ends in a refutation."""
    n = len(mesh.live)
    return all(one.swim._core.table.live == n for one in mesh.live.values())


def _run_while(mesh: Mesh, condition: Callable[[], bool], *, limit: float, step: float) -> float:
    interval = mesh.config.probe_interval
    return mesh.clock.run_while(condition, limit=limit * interval, step=step * interval)


def _rounds(n: int) -> int:
    return 5 if n <= 100 else 2


def seen_at(seen: list[Seen], state: State) -> list[float]:
    return [one.at for one in seen if one.changed.member.state is state]


GROUPS: tuple[tuple[str, ...], ...] = (("idle", "change", "crash"), ("frozen",), ("heal",))
MEASURES = dict(zip(PARTS, (idle, change, crash, frozen, heal), strict=True))


def measure(
    n: int,
    loss: float,
    seeds: range,
    profile: str,
    parts: tuple[str, ...] = PARTS,
    figures: Figures | None = None,
) -> Figures:
    """Healing and standing still are measured on meshes of their own: both leave traces behind.

    Standing still is measured without loss.
    """
    figures = figures or Figures()
    started = time.process_time()
    for seed in seeds:
        for group in GROUPS:
            wanted = [part for part in group if part in parts and not (group == ("frozen",) and loss)]
            if not wanted:
                continue
            mesh = settled(n, seed, PROFILES[profile](), Link(loss=loss / 100))
            for part in wanted:
                MEASURES[part](mesh, figures)
            figures.handled += mesh.network.kinds["delivered"]
        figures.seeds += 1
    figures.seconds += time.process_time() - started
    return figures


def row(n: int, loss: float, figures: Figures) -> str:
    def middle(values: list[float]) -> str:
        return f"{median(values):.2f}" if values else "-"

    def both(values: list[float]) -> str:
        return f"{middle(values)} ({max(values):.1f})" if values else "-"

    rate = figures.false_deaths / figures.idle_hours if figures.idle_hours else math.nan
    cost = figures.seconds / max(1, figures.handled) * 1e6
    still = [f"{sum(one) / len(one):.2f}" if one else "-" for one in (figures.stalled, figures.stopped)]
    return (
        f"| {n} | {loss:g} % | {figures.seeds} | {middle(figures.idle)} "
        f"| {middle(figures.half)} / {middle(figures.everybody)} "
        f"| {both(figures.suspected)} | {both(figures.dead)} | {both(figures.known)} "
        f"| {rate:.2f} | {still[0]} / {still[1]} | {both(figures.healed)} | {cost:.0f} |"
    )


HEAD = (
    "| n | loss | seeds | messages /node/s | change known to half / all, s | first suspect (max), s "
    "| first dead (max), s | all know (max), s | false deaths /node-hour | deaths with members frozen 2 / 8 s "
    "| healed after (max), s | CPU, us/message |\n|" + "---|" * 12
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[3, 10, 100])
    parser.add_argument("--loss", type=float, nargs="+", default=[0.0, 5.0, 25.0], help="percent")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="lan")
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--budget", type=float, default=math.inf, help="CPU seconds a row: fewer seeds then")
    options = parser.parse_args()
    gc.disable()  # the collector walks the members of all machines for nothing; one seed's are freed at its end
    print(HEAD)
    for n in options.n:
        for loss in options.loss:
            figures = Figures()
            for seed in range(options.seeds):
                measure(n, loss, range(seed, seed + 1), options.profile, tuple(options.parts), figures)
                gc.collect()
                if figures.seconds > options.budget:
                    break
            print(row(n, loss, figures))
            sys.stdout.flush()
