"""Sinks let the run with the larger name win, so names have to sort by age."""

from node.operations import instant_name, run_name

NOW = 1_700_000_000_000


def test_runs_that_are_asked_for_within_one_second_sort_by_age() -> None:
    names = [run_name("submit" if ms % 2 else "letters", "t", str(ms), NOW + ms) for ms in range(1000)]
    assert names == sorted(names)
    assert instant_name(NOW) < names[0] < names[-1] < instant_name(NOW + 1000)
