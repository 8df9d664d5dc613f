"""What members know of one-time tokens: redeeming, expiry, and two copies that meet."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.identity import NodeId
from node.security.exchange import Exchange, ticket_news
from node.security.keyring import MAX_AHEAD, KeyRing
from node.security.keys import ClusterKey, new_cluster_key
from node.security.roster import BadRoster, Entry, Roster
from node.security.tickets import KEPT, MAX_CLAIMS, MAX_TICKETS, Ticket, TicketRefused, Tickets, verifier_of

NOW = 1_000_000.0
A, B, ISSUER = NodeId("a" * 16), NodeId("b" * 16), NodeId("i" * 16)
NODES = [NodeId(name * 16) for name in "abcd"]
TICKETS = st.builds(
    Ticket,
    verifier=st.sampled_from([b"1" * 32, b"2" * 32]),
    expires=st.sampled_from([int(NOW) + 10, int(NOW) + 20]),
    uses=st.integers(1, 3),
    issuer=st.just(ISSUER),
    used=st.dictionaries(st.sampled_from(NODES), st.integers(0, 5), max_size=4).map(
        lambda used: tuple(sorted(used.items()))
    ),
    withdrawn=st.booleans(),
)
LISTS = st.lists(TICKETS, max_size=6)


def issued(uses: int = 1) -> tuple[Tickets, bytes]:
    tickets = Tickets()
    _, secret = tickets.issue(uses=uses, life=60, issuer=ISSUER, now=NOW)
    return tickets, secret


def merged(*parts: list[Ticket]) -> Tickets:
    tickets = Tickets()
    for part in parts:
        tickets.join(part, NOW)
    return tickets


@given(LISTS, LISTS)
def test_merging_does_not_depend_on_order_or_repetition(a: list[Ticket], b: list[Ticket]) -> None:
    assert merged(a, b).encode() == merged(b, a).encode() == merged(a, b, a).encode()
    assert merged(merged(a).all(NOW), b).encode() == merged(a, merged(b).all(NOW)).encode()


@given(LISTS, LISTS)
def test_no_merge_gives_a_use_back(a: list[Ticket], b: list[Ticket]) -> None:
    both = {ticket.verifier: ticket for ticket in merged(a, b).all(NOW)}
    for ticket in a + b:
        joined = both[ticket.verifier]
        assert set(dict(ticket.used)) <= set(dict(joined.used))
        assert joined.uses <= ticket.uses
        assert joined.expires <= ticket.expires
        assert joined.withdrawn >= ticket.withdrawn


def test_one_use_admits_one_node_and_that_one_again() -> None:
    tickets, secret = issued()
    assert tickets.redeem(secret, A, NOW).order == [A]
    assert tickets.redeem(secret, A, NOW + 1).order == [A]
    with pytest.raises(TicketRefused, match="has been used"):
        tickets.redeem(secret, B, NOW + 1)


def test_more_uses_admit_as_many() -> None:
    tickets, secret = issued(uses=2)
    tickets.redeem(secret, B, NOW)
    assert tickets.redeem(secret, A, NOW + 1).order == [B, A]
    with pytest.raises(TicketRefused, match="has been used"):
        tickets.redeem(secret, NODES[2], NOW + 1)


def test_after_its_expiry_it_admits_nobody_and_is_forgotten_in_time() -> None:
    tickets, secret = issued()
    with pytest.raises(TicketRefused, match=r"has expired; make another with `collect token join`"):
        tickets.redeem(secret, A, NOW + 60)
    assert tickets.all(NOW + KEPT)
    assert tickets.all(NOW + 61 + KEPT) == []
    assert tickets.join(merged(tickets.all(NOW)).all(NOW), NOW + 61 + KEPT) == []


def test_withdrawn_or_unknown_it_admits_nobody() -> None:
    tickets, secret = issued()
    with pytest.raises(TicketRefused, match="not known here"):
        tickets.redeem(b"another", A, NOW)
    (ticket,) = tickets.all(NOW)
    assert tickets.withdraw("none", NOW) is None
    assert tickets.withdraw(ticket.id, NOW) is not None
    with pytest.raises(TicketRefused, match="was withdrawn"):
        tickets.redeem(secret, A, NOW)


def test_neither_state_nor_file_holds_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "tickets"
    tickets = Tickets.load(path, NOW)
    _, secret = tickets.issue(uses=1, life=60, issuer=ISSUER, now=NOW)
    tickets.save()
    assert secret not in path.read_bytes()
    assert verifier_of(secret) in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    again = Tickets.load(path, NOW)
    assert again.redeem(secret, A, NOW).order == [A]
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(BadRoster, match=f"{path} is damaged"):
        Tickets.load(path, NOW)


def test_they_are_bounded() -> None:
    tickets = Tickets()
    for _ in range(MAX_TICKETS):
        tickets.issue(uses=1, life=60, issuer=ISSUER, now=NOW)
    with pytest.raises(BadRoster, match="256 join tokens already"):
        tickets.issue(uses=1, life=60, issuer=ISSUER, now=NOW)
    assert max(map(len, ticket_news(tickets.all(NOW)))) < 64_000
    crowd = tuple((NodeId(f"{number:016x}"), 1 << 52) for number in range(200))
    full = Ticket(verifier=b"v" * 32, expires=int(NOW), uses=100, issuer=ISSUER, used=crowd)
    assert max(map(len, ticket_news([full] * 20))) < 64_000
    with pytest.raises(BadRoster, match="out of bounds"):
        tickets.join([Ticket(verifier=b"v", expires=1, uses=1, issuer=ISSUER)], NOW)


class Side:
    def __init__(self, keys: list[bytes]) -> None:
        self.roster = Roster(Entry(public_key=key) for key in keys)
        self.tickets = Tickets()
        self.ring = KeyRing(KEY)
        self.exchange = Exchange(self.roster, self.tickets, self.ring)


KEY = new_cluster_key()
NEWCOMERS = [b"A" * 40, b"B" * 40, b"C" * 40]


def compare(one: Side, other: Side, sender: NodeId | None = None) -> int:
    """Each offers to the other, until nobody has anything to say; how many messages that took."""
    queue = [(other, one.exchange.offer(NOW)), (one, other.exchange.offer(NOW))]
    steps = 0
    while queue:
        to, message = queue.pop(0)
        back = one if to is other else other
        queue += [(back, answer) for answer in to.exchange.receive(message, sender, NOW)[0]]
        steps += 1
        assert steps < 100, "the exchange must end"
    return steps


def test_a_last_use_spent_on_both_sides_of_a_cut_stands_once() -> None:
    """The one who came first stays; the other is revoked on both sides, and once it is judged, not again."""
    one, other = Side(NEWCOMERS), Side(NEWCOMERS)
    _, secret = one.tickets.issue(uses=1, life=60, issuer=ISSUER, now=NOW)
    compare(one, other)
    first, late = (Entry(public_key=key).id for key in NEWCOMERS[:2])
    other.tickets.redeem(secret, late, NOW + 2)
    one.tickets.redeem(secret, first, NOW + 1)
    compare(one, other)
    for side in (one, other):
        assert [entry.id for entry in side.roster.revoked()] == [late]
    one.roster.readmit(late)
    one.tickets.withdraw(one.tickets.all(NOW)[0].id, NOW)
    compare(one, other)
    for side in (one, other):
        assert side.roster.revoked() == []
        assert side.roster.admitted(NEWCOMERS[0]) == first


def test_a_later_key_reaches_the_other_with_the_revocation_list_and_never_before_it() -> None:
    one, other = Side(NEWCOMERS), Side(NEWCOMERS)
    thief = Entry(public_key=NEWCOMERS[0]).id
    one.roster.revoke(thief)
    one.ring.rotate()
    (news,) = one.exchange.key_news()
    changed = other.exchange.receive(news, None, NOW)[1]
    assert changed == {thief}
    assert other.ring.current == one.ring.current
    assert compare(one, other) == 2


def test_two_rotations_at_once_become_one() -> None:
    one, other = Side(NEWCOMERS), Side(NEWCOMERS)
    first, second = one.ring.rotate(), other.ring.rotate()
    compare(one, other)
    assert one.ring.current == other.ring.current == max(first, second, key=lambda key: key.secret)


def test_an_older_or_foreign_key_is_not_taken() -> None:
    one, other = Side(NEWCOMERS), Side(NEWCOMERS)
    (old,) = one.exchange.key_news()
    key = other.ring.rotate()
    other.exchange.receive(old, None, NOW)
    assert other.ring.current == key
    one.ring = KeyRing(new_cluster_key().rotated())
    (foreign,) = Exchange(one.roster, one.tickets, one.ring).key_news()
    with pytest.raises(BadRoster, match="of another mesh"):
        other.exchange.receive(foreign, None, NOW)
    assert other.ring.current == key


def test_nobody_can_use_up_the_generations_of_keys() -> None:
    """After the last one no key could be made any more that the forger does not know."""
    ring = Side(NEWCOMERS).ring
    mesh = bytes.fromhex(ring.current.mesh_id)

    def told(generation: int, now: float) -> bool:
        try:
            return ring.join(ClusterKey(b"\xff" * 32, generation, mesh).packed(), now)
        except BadRoster:
            return False

    assert not told(2**32 - 1, NOW)
    now = NOW
    for _ in range(1000):
        now += 0.01
        for ahead in (MAX_AHEAD, MAX_AHEAD + 1):
            told(ring.current.generation + ahead, now)
    assert MAX_AHEAD < ring.current.generation <= 11 * MAX_AHEAD
    key = ring.rotate()
    assert ring.join(ClusterKey(b"\xff" * 32, key.generation + 1, mesh).packed(), now), (
        "the next one comes at once"
    )


def test_a_long_revocation_list_goes_before_the_key() -> None:
    one, other = Side(NEWCOMERS), Side(NEWCOMERS)
    out = [Entry(public_key=b"%040d" % number, name="n" * 63, verdicts=1) for number in range(1500)]
    one.roster.join(entry.judged(1) for entry in out)
    one.ring.rotate()
    messages = one.exchange.key_news()
    assert max(map(len, messages)) < 60_000
    for message in messages:
        assert other.ring.current.generation == 0
        other.exchange.receive(message, None, NOW)
    assert other.ring.current == one.ring.current
    assert other.roster.revoked() == one.roster.revoked()


def test_a_ticket_that_is_joined_beyond_its_bounds_is_refused() -> None:
    """It was kept, and could not be read again: the node did not start any more."""
    side = Side(NEWCOMERS)
    ticket, _ = side.tickets.issue(uses=1, life=60, issuer=NodeId("i"), now=NOW)
    for first in (0, MAX_CLAIMS):
        used = tuple((NodeId(f"n{number}"), 1) for number in range(first, first + MAX_CLAIMS))
        forged = msgspec.structs.replace(ticket, used=used)
        if first:
            with pytest.raises(BadRoster):
                side.tickets.join([forged], NOW)
        else:
            side.tickets.join([forged], NOW)
    (held,) = side.tickets.all(NOW)
    held.check(NOW)


@pytest.mark.parametrize(
    "facts", [{"issuer": "i" * 65}, {"issuer": "\N{SNOWMAN}"}, {"used": (("n" * 65, 1),)}]
)
def test_ids_of_a_ticket_are_bounded(facts: dict[str, Any]) -> None:
    side = Side(NEWCOMERS)
    ticket, _ = side.tickets.issue(uses=1, life=60, issuer=NodeId("i"), now=NOW)
    with pytest.raises(BadRoster):
        side.tickets.join([msgspec.structs.replace(ticket, **facts)], NOW)


def test_nobody_undoes_its_own_revocation() -> None:
    """On the side of a cut that has not heard of it, a revoked node is still a member, and says what it likes."""
    cut, thief = Side(NEWCOMERS), Entry(public_key=NEWCOMERS[0])
    forged = Roster([thief.judged(2)])
    for message in Exchange(forged).news([thief.id]):
        cut.exchange.receive(message, thief.id, NOW)
    held = cut.roster.entry(thief.id)
    assert held is not None
    assert held.judgement == 0
    told = Side(NEWCOMERS)
    told.roster.revoke(thief.id)
    compare(told, cut)
    assert [entry.id for entry in cut.roster.revoked()] == [thief.id]
    for message in Exchange(forged).news([thief.id]):
        told.exchange.receive(message, NodeId("another"), NOW)  # a member may
    assert told.roster.revoked() == []


def test_a_version_without_tickets_is_sent_none() -> None:
    old, new = Exchange(Roster()), Side([])
    new.tickets.issue(uses=1, life=60, issuer=ISSUER, now=NOW)
    new.ring.rotate()
    assert new.exchange.receive(old.offer(), None, NOW) == ([], frozenset())
