"""How fast and how quiet membership is: the figures, taken from the machine that ships."""

import argparse
import sys
import time
from dataclasses import dataclass, field
from statistics import fmean

import msgspec

from gossip.config import SwimConfig
from gossip.effects import SetMeta
from gossip.identity import NodeId
from gossip.member import State
from tests.sim.membership import Mesh, Seen
from tests.sim.network import Link

PROFILES = {"lan": SwimConfig.lan, "wan": SwimConfig.wan, "local": SwimConfig.local}


@dataclass
class Figures:
    """Seconds, but for `idle` (messages per node and second), `false_deaths` and `idle_hours` (of a node)."""

    idle: list[float] = field(default_factory=list)
    half: list[float] = field(default_factory=list)
    everybody: list[float] = field(default_factory=list)
    suspected: list[float] = field(default_factory=list)
    dead: list[float] = field(default_factory=list)
    known: list[float] = field(default_factory=list)
    false_deaths: int = 0
    idle_hours: float = 0.0
    handled: int = 0
    seconds: float = 0.0


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


def idle(mesh: Mesh, seconds: float, figures: Figures) -> None:
    before, start = mesh.network.kinds["sent"], len(mesh.buried)
    mesh.clock.run_for(seconds)
    n = len(mesh.live)
    figures.idle.append((mesh.network.kinds["sent"] - before) / n / seconds)
    figures.false_deaths += len(mesh.buried) - start
    figures.idle_hours += n * seconds / 3600


def change(mesh: Mesh, figures: Figures) -> None:
    """A random node changes its meta."""
    node = mesh.rng.choice(sorted(mesh.live))
    own = mesh.live[node].swim.members[node]
    start, first = mesh.clock.now, len(mesh.changes)
    mesh.tell(node, SetMeta(msgspec.structs.replace(own.meta, weight=own.meta.weight + 1)))
    mesh.clock.run_for(20 * mesh.config.gossip_interval)
    times = sorted(seen.at - start for seen in mesh.changes[first:] if seen.changed.member.id == node)[1:]
    others = len(mesh.live) - 1
    if len(times) >= others:
        figures.half.append(times[(others - 1) // 2])
        figures.everybody.append(times[others - 1])


def crash(mesh: Mesh, figures: Figures) -> None:
    node = mesh.rng.choice(sorted(mesh.live))
    start, first = mesh.clock.now, len(mesh.changes)
    mesh.crash(node)

    def unknown() -> bool:
        beliefs = [mesh.member(observer, node) for observer in mesh.live]
        return any(one is None or one.state is not State.DEAD for one in beliefs)

    mesh.clock.run_while(
        unknown, limit=120 * mesh.config.probe_interval, step=0.25 * mesh.config.probe_interval
    )
    seen = [one for one in mesh.changes[first:] if one.changed.member.id == node]
    figures.suspected.append(_first(seen_at(seen, State.SUSPECT)) - start)
    deaths = seen_at(seen, State.DEAD)
    figures.dead.append(_first(deaths) - start)
    figures.known.append(max(deaths) - start)


def seen_at(seen: list[Seen], state: State) -> list[float]:
    return [one.at for one in seen if one.changed.member.state is state]


def _first(times: list[float]) -> float:
    return min(times, default=float("nan"))


def measure(n: int, loss: float, seeds: int, profile: str) -> Figures:
    figures = Figures()
    started = time.process_time()
    for seed in range(seeds):
        mesh = settled(n, seed, PROFILES[profile](), Link(loss=loss / 100))
        idle(mesh, 60 * mesh.config.probe_interval, figures)
        for _ in range(5):
            change(mesh, figures)
        crash(mesh, figures)
        figures.handled += mesh.network.kinds["delivered"]
    figures.seconds = time.process_time() - started
    return figures


def row(n: int, loss: float, figures: Figures) -> str:
    def mean(values: list[float]) -> str:
        return f"{fmean(values):.2f}" if values else "-"

    def both(values: list[float]) -> str:
        return f"{mean(values)} ({max(values):.1f})" if values else "-"

    rate = figures.false_deaths / figures.idle_hours
    cost = figures.seconds / max(1, figures.handled) * 1e6
    return (
        f"| {n} | {loss:g} % | {mean(figures.idle)} | {mean(figures.half)} / {mean(figures.everybody)} s "
        f"| {both(figures.suspected)} | {both(figures.dead)} | {both(figures.known)} "
        f"| {rate:.2f} | {cost:.1f} us |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[3, 10, 100])
    parser.add_argument("--loss", type=float, nargs="+", default=[0.0, 5.0, 25.0], help="percent")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="lan")
    options = parser.parse_args()
    print(
        "| n | loss | idle msgs/node/s | change known to 50 % / all | first suspect (max) | first dead (max) "
        "| all know (max) | false deaths/node-hour | CPU per message |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for n in options.n:
        for loss in options.loss:
            print(row(n, loss, measure(n, loss, options.seeds, options.profile)))
            sys.stdout.flush()
