"""Run ids sort by age, so that a sink lets the later run replace the earlier one."""

import pytest

from node.operations import instant_name, run_name
from plugins.sinks.manifest import order_of
from state.model import FIRST_RUN

NOW = 1_700_000_000_500
DAY = 86_400_000


def names(clocks: list[int], known: list[str]) -> list[str]:
    """The runs that requests start one after the other, each through a node with its own clock."""
    found = list(known)
    for number, clock in enumerate(clocks):
        found.append(
            run_name("submit", "default", f"k{number}", now_ms=clock, revision=number + 1, known=found)
        )
    return found


@pytest.mark.parametrize(
    ("clocks", "known"),
    [
        ([NOW] * 20, [FIRST_RUN]),  # within one second
        ([NOW + DAY, NOW, NOW - DAY, NOW], [FIRST_RUN]),
        ([NOW, NOW - 2000], [FIRST_RUN, instant_name(NOW)]),  # after a scheduled run
    ],
)
def test_a_later_request_has_the_later_name(clocks: list[int], known: list[str]) -> None:
    found = names(clocks, known)
    assert sorted(found, key=lambda run: order_of(0, run)) == found


def test_a_request_at_a_new_instant_has_that_instant() -> None:
    assert names([NOW, NOW + 1000], [FIRST_RUN])[-1].startswith(instant_name(NOW + 1000))
