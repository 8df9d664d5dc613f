"""Arithmetic of ranges, against sets of integers."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from state.coverage import Interval, gaps, joined, overlaps

RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def points(ranges: list[Interval]) -> set[int]:
    return {n for start, end in ranges for n in range(start, end)}


def normal(ranges: list[Interval]) -> bool:
    """Sorted, not empty, not touching."""
    return all(a < b for a, b in ranges) and all(x[1] < y[0] for x, y in pairwise(ranges))


@given(RANGES)
def test_joined_is_the_same_set(ranges: list[Interval]) -> None:
    result = joined(ranges)
    assert points(result) == points(ranges)
    assert normal(result)
    assert joined(reversed(ranges)) == result


@given(RANGES, RANGES)
def test_gaps_are_the_difference(wanted: list[Interval], covered: list[Interval]) -> None:
    result = gaps(wanted, covered)
    assert points(result) == points(wanted) - points(covered)
    assert all(a < b for a, b in result)
    assert gaps(wanted, [*covered, *result]) == []


@given(RANGES)
def test_overlaps_are_what_is_there_twice(ranges: list[Interval]) -> None:
    count = Counter(n for start, end in ranges for n in range(start, end))
    result = overlaps(ranges)
    assert points(result) == {n for n, times in count.items() if times > 1}
    assert normal(result)


@given(RANGES, RANGES)
def test_bounds_are_given_back_as_they_came(wanted: list[Interval], covered: list[Interval]) -> None:
    text = [(str(a), str(b)) for a, b in wanted]
    have = [(str(a), str(b)) for a, b in covered]
    assert gaps(text, have, int) == [(str(a), str(b)) for a, b in gaps(wanted, covered)]
