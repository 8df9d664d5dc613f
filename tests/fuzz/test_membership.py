"""The membership machine against a reference: what it believes after each claim is the larger of two.

I14: (incarnation, state) of another never moves backwards, but where it speaks itself in an earlier life than others
told of; and nobody but the subject raises an incarnation.
"""

import contextlib
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gossip.codec import unpack
from gossip.effects import Contact, Effect, Forget, Lagged, Leave, Received, SetAddress, SetMeta, Tick
from gossip.errors import Malformed
from gossip.identity import Boot, NodeId
from gossip.member import MAX_JUMP, RANK, State, encode_meta, first_incarnation
from gossip.messages import Ack, Alive, Dead, Departed, Nack, Ping, PingRequest, Record, Suspect, Sync
from tests.fuzz.damage import mutate
from tests.gossip.peers import ME, Peer, machine, meta

NAMES = st.sampled_from(["a", "b", "c", "d"])
BOOTS = st.integers(1, 3)
STEPS = st.sampled_from([0, 1, 2, 5, MAX_JUMP, MAX_JUMP + 7])
ANY = st.one_of(NAMES, st.just(str(ME)))
Belief = tuple[int, int, int]
"""Boot, incarnation, rank."""


def told(
    known: Belief | None, boot: int, incarnation: int, state: State, *, itself: bool = False
) -> Belief | None:
    """The reference: what is believed after one claim of gossip. `itself`: by its subject."""
    claim = (boot, incarnation, RANK[state])
    lives_differ = known is None or known[0] != boot
    if not lives_differ and known is not None and incarnation - known[1] > MAX_JUMP:
        return known
    if state is State.ALIVE:
        if incarnation >> 32 != boot:
            return known
        if known is not None and known[2] <= RANK[State.SUSPECT] and boot > known[0] and not itself:
            return known  # a later life of who lives here
        return claim if known is None or incarnation > known[1] else known
    if lives_differ or known is None:
        return known
    return max(known, claim)


class Membership(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.swim = machine(seed=seed, boot=2)
        self.now = 0.0
        self.raised = dict.fromkeys("abcd", -1)
        self.forgotten: set[str] = set()
        self.parted: set[str] = set()
        """Of whom somebody else has said that they left"""
        self.own = self.swim.members[ME].incarnation
        self.gone = False

    def belief(self, name: str) -> Belief | None:
        member = self.swim.members.get(NodeId(name))
        return None if member is None else (member.boot, member.incarnation, RANK[member.state])

    def handle(self, event: object, *, speaker: str = "") -> list[Effect]:
        """Nothing raises; each belief stays or grows, but that in the life of the `speaker`; only our own events raise
        our incarnation.
        """
        before = {name: self.belief(name) for name in "abcd" if name != speaker}
        self.now += self.rng.random() * 0.3
        effects = self.swim.handle(event, self.now)  # type: ignore[arg-type]  # the rules make events only
        for name, old in before.items():
            new = self.belief(name)
            if old is not None and new is not None:
                assert new[1:] >= old[1:], f"I14: {name} from {old} to {new}"
        for name in "abcd":
            if (new := self.belief(name)) is not None:
                assert new[1] <= self.raised[name], f"I14: {name} at {new[1]}, said was {self.raised[name]}"
        own = self.swim.members[ME].incarnation
        assert own >= self.own
        self.own = own
        return effects

    def say(self, sender: str, *messages: object) -> list[Effect]:
        # The sender speaks under an incarnation that nobody holds, so that its packet head says nothing.
        packet = Peer(sender, boot=9).packet(*messages)  # type: ignore[arg-type]
        return self.handle(Received(NodeId(sender), packet))

    @rule(sender=NAMES, name=NAMES, boot=BOOTS, step=STEPS, state=st.sampled_from(State), odd=st.booleans())
    def claim(self, sender: str, name: str, boot: int, step: int, state: State, odd: bool) -> None:
        incarnation = first_incarnation(Boot(boot)) + step + ((1 << 32) if odd and step == 5 else 0)
        self.raised[name] = max(self.raised[name], incarnation)
        before = self.belief(name)
        match state:
            case State.ALIVE:
                message: object = Alive(
                    NodeId(name), Boot(boot), incarnation, f"{name}:1", encode_meta(meta(name))
                )
            case State.SUSPECT:
                message = Suspect(NodeId(name), Boot(boot), incarnation, NodeId(sender))
            case State.DEAD:
                message = Dead(NodeId(name), Boot(boot), incarnation)
            case _:
                message = Departed(NodeId(name), Boot(boot), incarnation)
        self.say(sender, message)
        heard = not (self.gone or {sender, name} & self.forgotten)
        found = self.belief(name)
        if (
            heard and state is State.DEAD
        ):  # one member's word alone buries nobody: taken as a suspicion at first
            suspected = told(before, boot, incarnation, State.SUSPECT)
            assert found in (before, suspected, told(before, boot, incarnation, state))
        elif heard and state is State.LEFT and sender != name:  # nor does it send anyone away
            again = name in self.parted
            self.parted.add(name)
            assert found == before or (
                (again or (before is not None and before[2] == RANK[State.DEAD]))
                and found == told(before, boot, incarnation, state)
            )
        else:
            expected = told(before, boot, incarnation, state, itself=sender == name)
            assert found == (expected if heard else before)

    @rule(sender=NAMES, about=st.lists(st.tuples(ANY, BOOTS, STEPS, st.sampled_from(State)), max_size=4))
    def sync(self, sender: str, about: list[tuple[str, int, int, State]]) -> None:
        records = []
        for name, boot, step, state in about:
            records.append(Peer(name, boot=boot, step=step).record(state, self.rng.randrange(100)))
            if name in self.raised:
                self.raised[name] = max(self.raised[name], records[-1].incarnation)
        self.say(sender, Sync(self.rng.random() < 0.5, records))

    @rule(
        sender=NAMES, boot=BOOTS, step=STEPS, kind=st.sampled_from([Suspect, Dead, Departed, Alive, Record])
    )
    def accuse(self, sender: str, boot: int, step: int, kind: type) -> None:
        """Claims about the machine itself; only it answers by raising, and not beyond reason."""
        incarnation, before = first_incarnation(Boot(boot)) + step, self.own
        if kind is Suspect:
            self.say(sender, Suspect(ME, Boot(boot), incarnation, NodeId(sender)))
        elif kind in (Alive, Record):
            self.say(sender, Peer("me", boot=boot, step=step, address="elsewhere:1").alive())
        else:
            self.say(sender, kind(ME, Boot(boot), incarnation))
        assert self.own - before <= MAX_JUMP + 1
        assert self.own >> 32 == 2, "another's claim took us out of our own life"

    @rule(sender=NAMES, whom=ANY, sequence=st.integers(0, 5))
    def probe(self, sender: str, whom: str, sequence: int) -> None:
        self.say(
            sender,
            Ping(sequence, NodeId(whom)),
            Ack(sequence),
            Nack(sequence),
            PingRequest(sequence, NodeId(whom), f"{whom}:1"),
        )

    @rule(sender=st.sampled_from(["a", "b", "stranger", "me"]))
    def junk(self, sender: str) -> None:
        sound = Peer("zz", boot=1).packet(Peer("zz").alive(), Peer("zz").suspect(), Ack(1))
        damaged = mutate(self.rng, sound)
        with contextlib.suppress(Malformed):
            self.raised[sender] = max(self.raised.get(sender, -1), unpack(damaged).incarnation)
        self.handle(Received(NodeId(sender), damaged), speaker=sender)

    @rule(seconds=st.sampled_from([0.05, 0.5, 1.0, 10.0, 100.0, 90_000.0]))
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(30):
            due = self.swim.due()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.handle(Tick())
        self.now = end

    @rule(seconds=st.floats(0, 20))
    def lag(self, seconds: float) -> None:
        self.handle(Lagged(seconds))

    @rule(weight=st.integers(1, 3), address=st.sampled_from(["me:1", "me:2"]))
    def change(self, weight: int, address: str) -> None:
        self.handle(SetMeta(meta("me", weight=float(weight))))
        self.handle(SetAddress(address))

    @rule(name=st.sampled_from(["a", "e", "me"]))
    def contact(self, name: str) -> None:
        self.handle(Contact(NodeId(name), f"{name}:1"))

    @rule(name=st.sampled_from(["d", "me", "unknown"]), really=st.integers(0, 9))
    def forget(self, name: str, really: int) -> None:
        if really == 0:
            self.handle(Forget(NodeId(name)))
            if name != "me" and not self.gone:
                self.forgotten.add(name)

    @rule(really=st.integers(0, 19))
    def leave(self, really: int) -> None:
        if really == 0:
            self.handle(Leave())
            self.gone = self.swim._left

    @invariant()
    def the_live_are_counted(self) -> None:
        if hasattr(self, "swim"):
            self.gone = self.gone or self.swim._left
            table = self.swim._core.table
            assert table.live == sum(
                one.state in (State.ALIVE, State.SUSPECT) for one in table.members.values()
            )


def test_the_machine_follows_the_reference_order() -> None:
    run_state_machine_as_test(
        Membership,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, database=None, derandomize=True
        ),
    )
