"""Which test runs where, so that no core waits: the tests are dealt to the processes of `pytest -n`.

Scenarios run real nodes and mostly wait for them; worlds of the simulator only compute, at a lower priority. As the
folders lie they would come one after the other: first the cores would wait, then all at once want to compute. So some
processes begin with scenarios, the longest first, and the others with worlds; the many small tests come last
everywhere, and who is done first takes over those of the others (`--dist worksteal`).
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

T = TypeVar("T")

WAITING = "tests/scenarios/"
COMPUTING = "tests/sim/test_simulation.py"
LONGEST = (
    "test_versions",
    "test_pause",
    "test_rolling",
    "test_drain",
    "test_restart",
    "test_regions",
    "test_kill",
)
"""Modules of scenarios of half a minute and more."""


def dealt(tests: Sequence[T], workers: int, path_of: Callable[[T], str]) -> list[T]:
    """All tests in the order in which `workers` processes get them: each an equal share of what is next to each other.
    path_of gives a test's file or id, from the root. Fewer than three processes: the order stays."""
    waiting = sorted((t for t in tests if path_of(t).startswith(WAITING)), key=lambda t: _rank(path_of(t)))
    computing = [t for t in tests if path_of(t).startswith(COMPUTING)]
    if workers < 3 or not waiting or not computing:
        return list(tests)
    small = [t for t in tests if not path_of(t).startswith((WAITING, COMPUTING))]
    with_worlds = workers * 2 // 5
    with_scenarios = workers - with_worlds
    shares = [waiting[i::with_scenarios] for i in range(with_scenarios)]
    shares += [computing[i::with_worlds] for i in range(with_worlds)]
    left, done = len(tests), 0
    for number, share in enumerate(shares):
        room = max(0, left // (workers - number) - len(share))
        share.extend(small[done : done + room])
        done += room
        left -= len(share)
    shares[-1] += small[done:]
    return list(chain.from_iterable(shares))


def _rank(path: str) -> int:
    return next((number for number, name in enumerate(LONGEST) if name in path), len(LONGEST))
