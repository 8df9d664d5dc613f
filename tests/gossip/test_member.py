import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.errors import Malformed, MetaTooLarge
from gossip.identity import Boot, NodeId
from gossip.member import META_BYTES, Member, Meta, State, decode_meta, encode_meta, precedes
from gossip.messages import Message
from tests.gossip.peers import Peer, changes, machine, meta

STATES = list(State)


def reference(incarnation: int, state: State, held: int, held_state: State) -> bool:
    """The published rules, one by one, and two that make beliefs converge: a larger incarnation says that
    the subject was alive after what is held, and a leave is the subject's own word."""
    match state:
        case State.ALIVE:
            return incarnation > held
        case State.SUSPECT:
            return incarnation > held or (incarnation == held and held_state is State.ALIVE)
        case State.DEAD:
            return incarnation > held or (incarnation == held and held_state in (State.ALIVE, State.SUSPECT))
        case State.LEFT:
            return incarnation > held or (incarnation == held and held_state is not State.LEFT)


@pytest.mark.parametrize(("state", "held_state"), list(itertools.product(STATES, STATES)))
@pytest.mark.parametrize(("incarnation", "held"), list(itertools.product(range(3), range(3))))
def test_precedence_is_the_published_order(
    state: State, held_state: State, incarnation: int, held: int
) -> None:
    known = Member(NodeId("a"), Boot(0), held, held_state, "a:1", meta(), 0.0)
    assert precedes(incarnation, state, known) == reference(incarnation, state, held, held_state)


TOLD = {State.ALIVE: 0, State.SUSPECT: 1, State.DEAD: 1, State.LEFT: 3}
"""What a claim can make of a member at once: a death that another tells is a suspicion until time is up."""


@given(st.permutations(list(itertools.product(range(1, 3), range(3), STATES))))
def test_claims_in_any_order_end_in_the_same_belief(claims: list[tuple[int, int, State]]) -> None:
    swim = machine()
    teller = Peer("teller")
    Peer("x", boot=1).says(swim, Peer("x", boot=1).alive())
    for boot, step, state in claims:
        subject = Peer("x", boot=boot, step=step)
        messages: dict[State, Message] = {
            State.ALIVE: subject.alive(),
            State.SUSPECT: subject.suspect(),
            State.DEAD: subject.dead(),
            State.LEFT: subject.departed(),
        }
        before = swim.members[NodeId("x")]
        (subject if state in (State.ALIVE, State.LEFT) else teller).says(swim, messages[state])
        after = swim.members[NodeId("x")]
        assert (after.incarnation, STATES.index(after.state)) >= (
            before.incarnation,
            STATES.index(before.state),
        )
    # A boot becomes known by its Alive alone; accusations of it that came before had nobody to be about.
    later = [claims.index(claim) for claim in claims if claim[0] == 2 and claim[2] is State.ALIVE]
    held = swim.members[NodeId("x")]
    assert held.boot == 2
    counted = [claim for claim in claims[min(later) :] if claim[0] == 2 and claim[2] is not State.ALIVE]
    counted += [claim for claim in claims if claim[0] == 2 and claim[2] is State.ALIVE]
    best = max((step, TOLD[state]) for _, step, state in counted)
    assert (held.incarnation - (2 << 32), STATES.index(held.state)) == best


def test_meta_of_512_bytes_is_taken_and_one_more_is_refused_by_the_name_of_its_field() -> None:
    spare = (
        META_BYTES - len(encode_meta(Meta(name="", machine="x" * 200))) - 2
    )  # a str above 255 has a longer head
    encode_meta(Meta(name="n" * spare, machine="x" * 200))
    with pytest.raises(MetaTooLarge, match=r"512 are allowed; shorten 'machine'"):
        encode_meta(Meta(name="n" * 100, machine="x" * 400))


@given(st.binary(max_size=600))
def test_bytes_that_are_no_meta_are_malformed(junk: bytes) -> None:
    try:
        decode_meta(junk)
    except Malformed:
        return
    assert encode_meta(decode_meta(junk))


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0])
def test_a_weight_that_no_node_has_is_refused(weight: float) -> None:
    swim = machine()
    peer = Peer("a", weight=weight)
    assert changes(peer.says(swim, peer.alive())) == []
    assert swim.rejected == 1
