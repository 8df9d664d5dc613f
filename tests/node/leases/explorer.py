"""The production lease core on simulated clocks, network and disk, with everything going wrong; I3 is checked at every
grant."""

import functools
import random
from collections import Counter
from collections.abc import Callable

from gossip.identity import Boot, NodeId
from gossip.member import Member, Meta, State
from node import messages
from node.effects import Keep, Send
from node.leases.core import LeaseConfig, Leases
from node.leases.proposer import Result
from node.leases.wire import LeaseToken
from tests.sim.clock import Clock

DRIFT = 0.01
SLOTS = 2
NAMES = ("lock/x", "slot/y")
IDLE = 7.0
"""Seconds after which a lock that nobody renews is free"""
CONFIG = LeaseConfig(ttl=5.0, stable_after=0.5)


class Violation(AssertionError):
    """I3 does not hold."""


class Hold:
    """What one life of a node believes of one name. `end`: in real time."""

    def __init__(self, token: LeaseToken, until: float, end: float) -> None:
        self.token, self.until, self.end = token, until, end


class Peer:
    """One node over all its lives; its clock runs at its own speed from its own origin."""

    def __init__(self, name: str, world: "World") -> None:
        self.name = NodeId(name)
        self.world = world
        self.offset = world.rng.uniform(0, 1e6)
        self.speed = 1 + world.rng.uniform(-DRIFT, DRIFT)
        self.boot = 0
        self.disk: list[bytes] = []
        self.unsynced: list[bytes] = []
        self.up = self.frozen = False
        self.held_back: list[Callable[[], None]] = []
        self.view: dict[NodeId, Member] = {}
        self.holds: dict[str, Hold] = {}
        self.asking: set[str] = set()
        self.leases: Leases

    @property
    def local(self) -> float:
        return self.offset + self.world.clock.now * self.speed

    def real(self, local: float) -> float:
        return (local - self.offset) / self.speed

    def start(self, *, founded: bool = False) -> None:
        self.boot += 1
        self.up, self.frozen, self.held_back = True, False, []
        self.holds, self.asking = {}, set()
        rng = random.Random(self.world.rng.random())
        self.leases = Leases(self.name, Boot(self.boot), CONFIG, replicas=3, slots=SLOTS, rng=rng)
        for item in self.disk:
            self.leases.load(item)
        self.leases.founded = founded
        self.leases.start(self.local)
        self.leases.members(self.view, self.local)
        self.tick(self.boot)

    def crash(self) -> None:
        self.up = False
        self.holds.clear()
        self.unsynced.clear()

    def run(self, act: Callable[[], None]) -> None:
        """Now, or when the node thaws; not after a crash."""
        boot = self.boot
        if not self.up:
            return
        if self.frozen:
            self.held_back.append(lambda: self.run(act) if self.boot == boot else None)
            return
        act()
        self.flush()

    def thaw(self) -> None:
        self.frozen = False
        held, self.held_back = self.held_back, []
        self.world.rng.shuffle(held)
        for act in held:
            act()

    def tick(self, boot: int) -> None:
        if self.boot != boot or not self.up:
            return
        self.run(lambda: self.leases.tick(self.local))
        self.run(self.use)
        self.world.clock.after(0.1, lambda: self.tick(boot))

    def see(self, view: dict[NodeId, Member]) -> None:
        self.view = view
        self.run(lambda: self.leases.members(view, self.local))

    def receive(self, sender: NodeId, payload: bytes) -> None:
        self.run(lambda: self.leases.receive(sender, messages.decode(payload), self.local))

    def flush(self) -> None:
        while effects := self.leases.flush():
            for effect in effects:
                if isinstance(effect, Send):
                    self.world.send(self.name, effect.to, effect.message)
                elif isinstance(effect, Keep):
                    self.keep(effect)

    def keep(self, effect: Keep) -> None:
        self.unsynced.extend(effect.items)
        boot, count = self.boot, len(effect.items)

        def synced() -> None:
            if self.boot == boot and self.up:
                self.disk.extend(self.unsynced[:count])
                del self.unsynced[:count]
                self.run(lambda: self.leases.kept(effect.batch))

        self.world.in_order(self.name, synced)
        if self.world.rng.random() < 0.03:  # a crash between what it decided and what its disk holds
            self.world.clock.after(self.world.rng.uniform(0, 0.05), lambda: self.world.restart(self))

    # ---- what it wants leases for

    def use(self) -> None:
        rng = self.world.rng
        for number, name in enumerate(NAMES):
            if name in self.asking or (name == NAMES[0] and self.world.clock.now < self.world.idle_until):
                continue
            hold = self.holds.get(name)
            if hold is not None and self.local >= hold.until:
                del self.holds[name]
                hold = None
            if hold is None:
                if rng.random() < 0.05:
                    self.ask("take", name, number, (0, str(self.name), self.boot))
            elif rng.random() < 0.02:
                del self.holds[name]
                self.ask("release", name, number, hold.token)
            elif rng.random() < 0.1:
                self.ask("renew", name, number, hold.token)

    def ask(self, kind: str, name: str, slot: int, token: LeaseToken) -> None:
        self.asking.add(name)
        ttl = self.world.rng.choice((2.0, 5.0))

        def done(result: Result) -> None:
            self.asking.discard(name)
            self.world.seen[f"{kind} {'won' if result.won else 'lost'}"] += 1
            if kind != "release" and result.won:
                self.world.granted(self, name, result)

        self.leases.propose(kind, name, slot, token, done, ttl=ttl)


class World:
    """`run()`: one life of a mesh of `size` nodes under `seed`; `seen` counts what happened."""

    def __init__(self, seed: int, size: int = 3, *, seconds: float = 60.0) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.seconds = seconds
        self.seen: Counter[str] = Counter()
        self.owners: dict[tuple[str, int], LeaseToken] = {}
        self.top: dict[str, int] = {}
        names = "abcdef"
        self.peers = {NodeId(name): Peer(name, self) for name in names[:size]}
        self.spare = [NodeId(name) for name in names[size : size + 2]]
        self.members = {name: self.member(name) for name in self.peers}
        self.sides: dict[NodeId, int] = {}
        self.busy_until: dict[NodeId, float] = {}
        self.loss = self.rng.choice((0.0, 0.05, 0.2))
        self.calm = False
        self.idle_until = 0.0

    def member(self, name: NodeId, weight: float = 1.0) -> Member:
        return Member(name, Boot(1), 0, State.ALIVE, name, Meta(name=name, weight=weight), 0.0)

    # ---- the network and the disk

    def send(self, source: NodeId, to: NodeId, message: messages.Message) -> None:
        payload = messages.encode(message)
        if self.sides.get(source, 0) != self.sides.get(to, 0) or (
            self.rng.random() < self.loss and not self.calm
        ):
            return
        for _ in range(1 + (self.rng.random() < 0.05)):
            slow = self.rng.random() < 0.03 and not self.calm
            delay = self.rng.uniform(0.5, 8) if slow else self.rng.uniform(0.001, 0.05)
            self.clock.after(delay, lambda: self.arrive(source, to, payload))

    def arrive(self, source: NodeId, to: NodeId, payload: bytes) -> None:
        if to in self.peers:
            self.peers[to].receive(source, payload)

    def in_order(self, name: NodeId, act: Callable[[], None]) -> None:
        at = max(self.busy_until.get(name, 0.0), self.clock.now + self.rng.uniform(0.001, 0.1))
        self.busy_until[name] = at
        self.clock.schedule(at, act)

    # ---- the checker

    def granted(self, peer: Peer, name: str, result: Result) -> None:
        """Called by whoever believes that it has the lease."""
        now = self.clock.now
        if peer.real(result.until) <= now:
            return
        for other in self.peers.values():
            hold = other.holds.get(name)
            if other is not peer and other.up and hold is not None and hold.end > now:
                raise Violation(
                    f"at {now:.3f} {name} is held by {peer.name} {result.token} and, until {hold.end:.3f}, by "
                    f"{other.name} {hold.token}"
                )
        epoch = result.token[0]
        owner = self.owners.setdefault((name, epoch), result.token)
        if owner != result.token:
            raise Violation(f"epoch {epoch} of {name} is that of {owner} and of {result.token}")
        before = peer.holds.get(name)
        renewed = before is not None and before.token == result.token
        if not renewed and epoch < self.top.get(name, 0) and self.owners[name, epoch] is result.token:
            raise Violation(f"{name}: epoch {epoch} after {self.top[name]}")
        self.top[name] = max(epoch, self.top.get(name, 0))
        until = max(result.until, before.until) if renewed and before is not None else result.until
        peer.holds[name] = Hold(result.token, until, peer.real(until))

    # ---- what goes wrong

    def run(self) -> None:
        first, *others = self.peers.values()
        for peer in self.peers.values():
            peer.view = dict(self.members)
        first.start(founded=True)
        for peer in others:
            peer.start()
        self.clock.run_for(self.rng.uniform(0, 6))
        changes = 0
        while self.clock.now < self.seconds:
            self.clock.run_for(self.rng.uniform(0.2, 4))
            kind = self.rng.choice(("crash", "freeze", "cut", "heal", "map", "forget", "none"))
            if kind == "map":
                changes += 1
                if changes > 2:
                    continue
            self.seen[kind] += 1
            getattr(self, kind)()

    def none(self) -> None:
        """A quiet while."""

    def crash(self) -> None:
        self.restart(self.rng.choice(list(self.peers.values())))

    def restart(self, peer: Peer) -> None:
        if peer.up:
            self.seen["unsynced"] += bool(peer.unsynced)
            peer.crash()
            self.clock.after(self.rng.choice((0.1, self.rng.uniform(0.1, 5))), peer.start)

    def freeze(self) -> None:
        peer = self.rng.choice(list(self.peers.values()))
        if peer.up and not peer.frozen:
            peer.frozen = True
            self.clock.after(self.rng.uniform(0.5, 9), peer.thaw)

    def forget(self) -> None:
        """For a while nobody wants the lock; then voters forget it."""
        self.idle_until = self.clock.now + IDLE
        self.clock.after(IDLE, self.forgotten)

    def forgotten(self) -> None:
        peers = list(self.peers.values())
        for peer in self.rng.sample(peers, self.rng.randint(1, len(peers))):
            if peer.up and not peer.frozen:
                known = NAMES[0] in peer.leases.acceptor.promises
                peer.run(functools.partial(peer.leases.acceptor.forget, peer.local, 0.0))
                self.seen["forgotten"] += known and NAMES[0] not in peer.leases.acceptor.promises

    def cut(self) -> None:
        self.sides = {name: self.rng.randrange(2) for name in self.peers}

    def heal(self) -> None:
        self.sides = {}

    def map(self) -> None:
        """Nodes join, or one weighs more or less, so that other nodes vote; each node sees it at another time."""
        if self.spare and self.rng.random() < 0.6:
            for _ in range(self.rng.choice((1, 2))):
                if self.spare:
                    self.join(self.spare.pop(0))
        else:
            name = self.rng.choice(list(self.members))
            self.members[name] = self.member(name, self.rng.choice((0.02, 50.0)))
        longest = self.rng.choice((1, 8))
        for peer in self.peers.values():
            view = dict(self.members)
            self.clock.after(self.rng.uniform(0, longest), lambda peer=peer, view=view: peer.see(view))  # type: ignore[misc]

    def join(self, name: NodeId) -> None:
        self.members[name] = self.member(name)
        peer = self.peers[name] = Peer(name, self)
        peer.view = dict(self.members)
        peer.start()
