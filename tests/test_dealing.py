"""No test is lost or doubled when they are dealt, and each process begins with its kind."""

import pytest

from tests.dealing import COMPUTING, WAITING, dealt


def _tests(scenarios: int, worlds: int, small: int) -> list[str]:
    return [
        *(f"tests/node/test_{i}.py" for i in range(small // 2)),
        *(f"{WAITING}test_chaos.py::{i}" for i in range(scenarios - 1)),
        f"{WAITING}test_versions.py::long",
        *(f"{COMPUTING}::{i}" for i in range(worlds)),
        *(f"tests/state/test_{i}.py" for i in range(small - small // 2)),
    ]


@pytest.mark.parametrize("workers", [3, 4, 5, 8])
@pytest.mark.parametrize(
    ("scenarios", "worlds", "small"), [(90, 300, 2800), (5, 5, 0), (300, 10, 40), (1, 90, 7)]
)
def test_each_once(workers: int, scenarios: int, worlds: int, small: int) -> None:
    tests = _tests(scenarios, worlds, small)
    assert sorted(dealt(tests, workers, str)) == sorted(tests)


def test_each_process_begins_with_its_kind() -> None:
    tests = _tests(90, 300, 2800)
    order, share = dealt(tests, 5, str), len(tests) // 5
    firsts = [order[number * share] for number in range(5)]
    assert firsts[0].startswith(f"{WAITING}test_versions")
    assert all(first.startswith(WAITING) for first in firsts[:3])
    assert all(first.startswith(COMPUTING) for first in firsts[3:])


@pytest.mark.parametrize("workers", [1, 2])
def test_few_processes_keep_the_order(workers: int) -> None:
    tests = _tests(9, 30, 20)
    assert dealt(tests, workers, str) == tests
