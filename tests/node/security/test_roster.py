import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.identity import Boot, NodeId
from node.security.exchange import Exchange
from node.security.roster import MAX_BOOT, MAX_ENTRIES, BadRoster, Entry, Roster

KEYS = [bytes([65 + number]) * 40 for number in range(6)]
ADDRESSES = st.sampled_from(["", "a:1", "b:2"])
ENTRIES = st.builds(
    Entry,
    public_key=st.sampled_from(KEYS),
    boot=st.integers(0, 3),
    name=st.sampled_from(["", "x", "y"]),
    gossip=ADDRESSES,
    bulk=ADDRESSES,
    join=ADDRESSES,
    revoked=st.booleans(),
    verdicts=st.integers(0, 3),
)
LISTS = st.lists(ENTRIES, max_size=12)


@given(LISTS, LISTS, LISTS)
def test_merging_is_commutative_associative_idempotent(
    a: list[Entry], b: list[Entry], c: list[Entry]
) -> None:
    def merged(*parts: list[Entry]) -> bytes:
        roster = Roster()
        for part in parts:
            roster.merge(Roster(part).encode())
        return roster.encode()

    assert merged(a, b) == merged(b, a)
    assert merged(merged_entries(a, b), c) == merged(a, merged_entries(b, c))
    assert merged(a, b, a, b) == merged(a, b)


def merged_entries(a: list[Entry], b: list[Entry]) -> list[Entry]:
    return Roster([*a, *b]).entries()


@given(LISTS)
def test_against_a_plain_model(entries: list[Entry]) -> None:
    roster = Roster(entries)
    for key in KEYS:
        mine = [entry for entry in entries if entry.public_key == key]
        held = roster.entry(Entry(public_key=key).id)
        assert (held is None) == (not mine)
        if held is not None:
            assert held.boot == max(entry.boot for entry in mine)
            verdicts = max(max(entry.verdicts, int(entry.revoked)) for entry in mine)
            assert (held.verdicts, held.revoked) == (verdicts, verdicts in (1, 3))
            assert (roster.admitted(key) == held.id) == (not held.revoked)
            assert (held.id in roster.keys) == (not held.revoked)


@given(LISTS, LISTS)
def test_digests_are_equal_exactly_for_equal_rosters(a: list[Entry], b: list[Entry]) -> None:
    one, other = Roster(a), Roster(b)
    assert (one.digest() == other.digest()) == (one.encode() == other.encode())


@given(LISTS, LISTS)
def test_an_exchange_makes_both_rosters_their_join(a: list[Entry], b: list[Entry]) -> None:
    one, other = Roster(a), Roster(b)
    wanted = Roster([*a, *b]).encode()
    sides = Exchange(one), Exchange(other)
    queue = [(1, sides[0].offer())]
    steps = 0
    while queue:
        to, message = queue.pop(0)
        queue += [(1 - to, answer) for answer in sides[to].receive(message)[0]]
        steps += 1
        assert steps < 100, "the exchange must end"
    assert one.encode() == wanted
    assert other.encode() == wanted


@given(LISTS)
def test_news_carry_what_changed(entries: list[Entry]) -> None:
    one, other = Roster(entries), Roster()
    for message in Exchange(one).news(one.view.entries):
        assert Exchange(other).receive(message)[0] == []
    assert other.encode() == one.encode()


@given(st.binary(max_size=200))
def test_nonsense_is_rejected_and_changes_nothing(data: bytes) -> None:
    roster = Roster([Entry(public_key=KEYS[0])])
    before = roster.encode()
    for receive in (roster.merge, Exchange(roster).receive):
        try:
            receive(data)
        except BadRoster:
            assert roster.encode() == before


@pytest.mark.parametrize(
    "entry",
    [
        Entry(public_key=b"short"),
        Entry(public_key=KEYS[0], boot=-1),
        Entry(public_key=KEYS[0], boot=1 << 31),
        Entry(public_key=KEYS[0], name="n" * 64),
        Entry(public_key=KEYS[0], bulk="no address"),
        Entry(public_key=KEYS[0], bulk="\N{SNOWMAN}" * 100 + ":1"),
        Entry(public_key=KEYS[0], name="a\x1b[2J"),
        Entry(public_key=b"\xff" * 40),
    ],
)
def test_bad_entries_are_refused_whole(entry: Entry) -> None:
    roster = Roster()
    with pytest.raises(BadRoster):
        roster.join([Entry(public_key=KEYS[1]), entry])
    assert roster.entries() == []


def test_it_is_bounded() -> None:
    roster = Roster(Entry(public_key=b"%040d" % number) for number in range(MAX_ENTRIES))
    with pytest.raises(BadRoster, match="at most 4096"):
        roster.join([Entry(public_key=KEYS[0])])
    assert all(len(message) < 64_000 for message in Exchange(Roster()).receive(Exchange(roster).offer())[0])
    answers, _ = Exchange(roster).receive(Exchange(Roster()).offer())
    assert answers
    assert max(len(answer) for answer in answers) < 64_000


def test_large_buckets_and_lists_go_in_pieces() -> None:
    """One member's forged entries made messages that no plane carries: nobody could compare rosters any more."""
    address = "h" * 240 + ":1"
    large = [
        Entry(public_key=b"%040d" % number, name="n" * 63, gossip=address, bulk=address, join=address)
        for number in range(MAX_ENTRIES - 1)
    ]
    one, other = Roster(large), Roster([Entry(public_key=KEYS[0])])
    queue = [(1, Exchange(one).offer()), (0, Exchange(other).offer())]
    while queue:
        to, message = queue.pop()
        assert len(message) < 64_000
        queue += [(1 - to, answer) for answer in Exchange((one, other)[to]).receive(message)[0]]
    assert one.encode() == other.encode()
    assert len(other.entries()) == MAX_ENTRIES
    assert all(len(message) < 64_000 for message in Exchange(one).news(one.view.entries))


def test_facts_of_a_live_member_are_those_of_the_life_that_it_speaks_in() -> None:
    """Another could name addresses under the last boot there is, and nobody reached the member any more."""
    victim, evil = Entry(public_key=KEYS[0], boot=5, bulk="right:1"), Entry(public_key=KEYS[1]).id
    forged = msgspec.structs.replace(victim, boot=MAX_BOOT - 1, bulk="wrong:1")
    roster = Roster([victim])
    live: dict[NodeId, Boot] = {victim.id: Boot(5)}
    here = Exchange(roster, lives=live.get)
    for message in Exchange(Roster([forged])).news([victim.id]):
        here.receive(message, evil)
    assert roster.entries() == [victim]
    assert here.take([forged.judged(1)], evil) == {victim.id}, "its verdicts count all the same"
    assert roster.entries() == [victim.judged(1)]
    assert here.take([msgspec.structs.replace(victim, boot=6, bulk="moved:1")], victim.id)
    assert roster.entry(victim.id) == msgspec.structs.replace(victim, boot=6, bulk="moved:1").judged(1)


def test_its_own_word_takes_back_what_others_said_while_it_was_away() -> None:
    victim, evil = Entry(public_key=KEYS[0], boot=5, bulk="right:1"), Entry(public_key=KEYS[1]).id
    roster = Roster([victim])
    live: dict[NodeId, Boot] = {}
    here = Exchange(roster, lives=live.get)
    here.take([msgspec.structs.replace(victim, boot=MAX_BOOT - 1, bulk="wrong:1").judged(2)], evil)
    back = msgspec.structs.replace(victim, boot=6)
    assert not here.take([back], victim.id), "gossip does not know yet whether it speaks in that life"
    live[victim.id] = Boot(6)
    assert here.take([back], evil) == frozenset()
    assert here.take([back], victim.id) == {victim.id}
    assert roster.entries() == [back.judged(2)]


def test_it_is_kept_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "roster"
    roster = Roster.load(path)
    roster.join(Entry(public_key=key) for key in KEYS)
    roster.save()
    assert Roster.load(path).encode() == roster.encode()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["roster"]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadRoster, match=f"{path} is damaged"):
        Roster.load(path)


def test_no_old_entry_undoes_a_verdict_and_listeners_are_told() -> None:
    told: list[frozenset[NodeId]] = []
    entry = Entry(public_key=KEYS[0], boot=1)
    roster = Roster([entry])
    unsubscribe = roster.subscribe(told.append)
    assert roster.revoke(entry.id)
    assert not roster.revoke(entry.id)
    roster.join([Entry(public_key=KEYS[0], boot=9)])
    assert roster.admitted(KEYS[0]) is None
    assert told == [frozenset({entry.id})] * 2
    unsubscribe()
    roster.join([Entry(public_key=KEYS[1])])
    assert len(told) == 2
    assert [each.id for each in roster.revoked()] == [entry.id]
    before = roster.encode()
    assert roster.readmit(entry.id)
    assert not roster.readmit(entry.id)
    assert roster.admitted(KEYS[0]) == entry.id
    roster.merge(before)
    roster.join([Entry(public_key=KEYS[0], revoked=True)])  # as a version without verdicts says it
    assert roster.admitted(KEYS[0]) == entry.id
    assert roster.revoke(entry.id)
    assert roster.admitted(KEYS[0]) is None
    assert not roster.revoke(NodeId("unknown"))


def test_a_file_of_before_verdicts_is_read() -> None:
    old = [1, [[KEYS[0], 3, "n", "", "", "", True], [KEYS[1], 1, "m", "", "", "", False]]]
    roster = Roster()
    assert roster.merge(msgspec.msgpack.encode(old))
    assert [entry.public_key for entry in roster.revoked()] == [KEYS[0]]
    assert roster.admitted(KEYS[1])


def test_readers_see_whole_states_while_others_write() -> None:
    roster, ended = Roster(), threading.Event()
    torn: list[object] = []

    def read() -> None:
        while not ended.is_set():
            view = roster.view
            if {entry.id for entry in view.entries.values()} != set(view.keys):
                torn.append(view)

    reader = threading.Thread(target=read)
    reader.start()
    writers = [
        threading.Thread(target=lambda base=base: [
            roster.join([Entry(public_key=b"%040d" % (base + number))]) for number in range(100)
        ])
        for base in (0, 1000, 2000)
    ]  # fmt: skip
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    ended.set()
    reader.join()
    assert not torn
    assert len(roster.entries()) == 300
