"""A network of namespaces: one a node, joined by a bridge in a namespace of its own, cut by iptables.

    host --- hub (bridge) --- a, b, c …

Between nodes of different regions packets go through the process of `wan` instead, if there is to be a delay.
The host has an address on the bridge, so a test reaches each node, at once; cuts are by the nodes' addresses and
never stand between a node and the test. Everything of a network hangs on its namespaces and goes with them; names
and the subnet are random, so several networks can be up at a time.
"""

import asyncio
import itertools
import random
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.scenarios import wan
from tests.scenarios.mesh import Mesh, Node, Place

DROP = ("-j", "DROP")
"""packets vanish, as with a broken cable"""
REJECT = ("-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")
"""connections are refused at once, as by a firewall"""
BEARER = "chaos-of-this-test"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


class Far(NamedTuple):
    """The way between regions. `regions`: of each node; `delay`: seconds, one way; `loss`: share of packets."""

    regions: Mapping[str, str]
    delay: float
    loss: float = 0.0
    seed: int = 1


class Net:
    """The namespaces of nodes with these names; a context manager. `far`: what lies between regions, if anything."""

    def __init__(self, names: Sequence[str], far: Far | None = None) -> None:
        chance = random.SystemRandom()
        self._id = f"cn{chance.randrange(1 << 24):06x}"
        self._subnet = f"10.{chance.randrange(128, 255)}.{chance.randrange(256)}"
        self._hosts = {name: f"{self._subnet}.{number}" for number, name in enumerate(names, 10)}
        self._moved = 0
        self._far = far
        self._wan: wan.Wan | None = None

    def host(self, name: str) -> str:
        return self._hosts[name]

    def __enter__(self) -> Self:
        try:
            self._lay()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete the namespaces, and with them both ends of each cable. What is absent is no error."""
        if self._wan is not None:
            self._wan.close()
        for name in ("hub", *self._hosts):
            subprocess.run(["ip", "netns", "delete", self._space(name)], capture_output=True, check=False)

    def _space(self, name: str) -> str:
        return f"{self._id}-{name}"

    def _lay(self) -> None:
        hub = self._space("hub")
        _run("ip", "netns", "add", hub)
        _run("ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", hub, "link", "set", "bridge", "up")
        _run("ip", "link", "add", self._id, "type", "veth", "peer", "name", "host", "netns", hub)
        self._plug("host")
        _run("ip", "address", "add", f"{self._subnet}.1/24", "dev", self._id)
        _run("ip", "link", "set", self._id, "up")
        for name, host in self._hosts.items():
            self._connect(name, host)
        if self._far is not None:
            self._part(self._far)

    def _part(self, far: Far) -> None:
        """Lead the way from each region to each other through the process of `wan`."""
        for name, host in self._hosts.items():
            space = ("ip", "-n", self._space(name))
            _run(*space, "tuntap", "add", "dev", wan.DEVICE, "mode", "tun")
            _run(*space, "link", "set", wan.DEVICE, "up")
            for other, there in self._hosts.items():
                if far.regions[other] != far.regions[name]:
                    _run(*space, "route", "add", there, "dev", wan.DEVICE, "src", host)
        spaces = {host: self._space(name) for name, host in self._hosts.items()}
        self._wan = wan.Wan(spaces, delay=far.delay, loss=far.loss, seed=far.seed)

    @property
    def wan(self) -> wan.Wan:
        """The way between regions."""
        assert self._wan is not None, "the regions of this network have nothing between them"
        return self._wan

    def _connect(self, name: str, host: str) -> None:
        space, hub = self._space(name), self._space("hub")
        _run("ip", "netns", "add", space)
        _run("ip", "-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", hub)
        self._plug(name)
        _run("ip", "-n", space, "address", "add", f"{host}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _run("ip", "-n", space, "link", "set", link, "up")

    def _plug(self, link: str) -> None:
        _run("ip", "-n", self._space("hub"), "link", "set", "dev", link, "master", "bridge", "up")

    def move(self, name: str) -> None:
        """Give the node another address, as a container gets at each start; the old one is nobody's."""
        assert self._far is None, "the routes between regions are by the first addresses"
        self._moved += 1
        host = f"{self._subnet}.{100 + self._moved}"
        where = ("ip", "-n", self._space(name), "address")
        _run(*where, "flush", "dev", "eth0")
        _run(*where, "add", f"{host}/24", "dev", "eth0")
        self._hosts[name] = host

    def inside(self, name: str) -> Sequence[str]:
        """What starts a command in the namespace of this node."""
        return ("nsenter", f"--net=/run/netns/{self._space(name)}")

    def place(self, bearer_file: Path, profile: str) -> Callable[[str], Place]:
        """Where a mesh puts its nodes, with this timing of gossip."""

        def place(name: str) -> Place:
            flags = ("--profile", profile, "--http-token-file", str(bearer_file))
            return Place(self.inside(name), self.host(name), BEARER, flags)

        return place

    # ---- cuts

    def deafen(self, name: str, others: Sequence[str], how: Sequence[str] = DROP) -> None:
        """The node hears no more of these others; they still hear it."""
        for other in others:
            rule = ("-A", "INPUT", "-s", self.host(other), *how)
            _run("ip", "netns", "exec", self._space(name), "iptables", "-w", *rule)

    @property
    def hub(self) -> str:
        """The address of the host, where a test can serve something to the nodes."""
        return f"{self._subnet}.1"

    def hide(self, name: str, port: int) -> None:
        """The node gets no answer from this port of the host."""
        rule = ("-A", "INPUT", "-s", self.hub, "-p", "tcp", "--sport", str(port), *DROP)
        _run("ip", "netns", "exec", self._space(name), "iptables", "-w", *rule)

    def cut(self, one: Sequence[str], other: Sequence[str], how: Sequence[str] = DROP) -> None:
        """None of `one` and none of `other` hear each other."""
        for a, b in itertools.product(one, other):
            self.deafen(a, [b], how)
            self.deafen(b, [a], how)

    def heal(self) -> None:
        for name in self._hosts:
            _run("ip", "netns", "exec", self._space(name), "iptables", "-w", "-F", "INPUT")


class NetMesh(Mesh):
    """A mesh with a namespace for each node. Each node is given the key of the mesh and all others as seeds."""

    def __init__(
        self, folder: Path, names: Sequence[str], far: Far | None = None, profile: str = "local"
    ) -> None:
        self.net = Net(names, far)
        bearer = folder / "bearer"
        bearer.write_text(BEARER)
        bearer.chmod(0o600)
        self._place_of = self.net.place(bearer, profile)
        super().__init__(folder, names, place=self._place_of)
        with self.config.open("a") as config:
            config.write("[http]\ninsecure = true\n")

    async def begin(self) -> None:
        self.net.__enter__()
        first, *rest = self.nodes
        await first.start()
        await asyncio.gather(*(self.start(node) for node in rest))

    async def start(self, node: Node) -> None:
        """Start a node, or start it again."""
        seeds = [flag for other in self.nodes if other is not node for flag in ("--seed", other.place.host)]
        await node.start("--key-file", str(self.nodes[0].data / "cluster.key"), *seeds)

    def move(self, *nodes: Node) -> None:
        """Stopped nodes will start at addresses that they never had."""
        for node in nodes:
            self.net.move(node.name)
            node.settle(self._place_of(node.name))

    def end(self, *, failed: bool) -> None:
        try:
            super().end(failed=failed)
        finally:
            self.net.close()
