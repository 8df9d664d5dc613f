"""Ids, slots and the choice of an executor."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.identity import NodeId
from sharding.balance import CAP, choose
from sharding.key import BATCH_LENGTH, TaskId, batch_name, parse
from sharding.placement import rank
from sharding.region import slot_in
from sharding.slots import SLOTS, group_digest, named_digest, slot_of

DIGESTS = st.binary(min_size=16, max_size=16)


@given(st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True), st.integers(0, 4095), DIGESTS, st.integers(0, 4095))
def test_an_id_says_what_it_was_made_of(region: str, slot: int, digest: bytes, place: int) -> None:
    task = TaskId(slot_in(region, slot), batch_name(digest), place)
    assert parse(str(task)) == task


@given(st.text(max_size=40))
def test_other_text_is_no_id_or_the_same_id(text: str) -> None:
    found = parse(text)
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    "text",
    ["", "local-000-abc", "local-000-aaaaaaaaaaaaa000\n", "Local-000-aaaaaaaaaaaaa000", "local-00g-aaaaaaaaaaaaa000",
     "local-000-aaaaaaaaaaaa1000", "local-000-aaaaaaaaaaaaa0000", "x" * 17 + "-000-aaaaaaaaaaaaa000"],
)  # fmt: skip
def test_what_only_looks_like_an_id_is_none(text: str) -> None:
    assert parse(text) is None


@given(DIGESTS)
def test_batch_names_are_of_one_length(digest: bytes) -> None:
    assert len(batch_name(digest)) == BATCH_LENGTH
    assert 0 <= slot_of(digest) < SLOTS


def test_digests_differ_where_their_parts_do() -> None:
    digests = {
        named_digest("a", "b"), named_digest("ab", ""), named_digest("b", "a"),
        group_digest("a", "b", 0), group_digest("a", "b", 1), group_digest("a", "b1", 1),
    }  # fmt: skip
    assert len(digests) == 6
    assert named_digest("a", "b") == named_digest("a", "b")


def test_slots_are_even() -> None:
    count = Counter(slot_of(group_digest("t", "key", n), 16) for n in range(16_000))
    assert min(count.values()) > 850
    assert max(count.values()) < 1150


@given(
    st.dictionaries(st.sampled_from([NodeId(c) for c in "abcdef"]), st.integers(0, 20), min_size=1),
    st.text(max_size=5),
)
def test_nobody_is_chosen_beyond_the_cap(loads: dict[NodeId, float], affinity: str) -> None:
    chosen = choose(affinity, loads)
    assert chosen in loads
    assert loads[chosen] + 1 <= CAP * (sum(loads.values()) + 1) / len(loads) + 1
    below = [node for node in rank(affinity, loads) if loads[node] == 0]
    if below and below[0] == rank(affinity, loads)[0]:
        assert chosen == below[0]


def test_affinity_holds_while_loads_are_even() -> None:
    loads = dict.fromkeys([NodeId(c) for c in "abc"], 4.0)
    assert choose("file-7", loads) == rank("file-7", loads)[0]
    assert choose("file-7", {}) is None


def test_units_given_one_by_one_end_evenly() -> None:
    """All with one affinity, the worst case: within the cap of the mean all the same."""
    loads: dict[NodeId, float] = dict.fromkeys([NodeId(c) for c in "abcd"], 0.0)
    for _ in range(100):
        node = choose("same", loads)
        assert node is not None
        loads[node] += 1
    assert max(loads.values()) <= 33
