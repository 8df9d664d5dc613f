"""The simulator finds what is planted: a few mutants here, the whole catalogue in `make sim-mutants`."""

import inspect

import pytest

from tests.sim.mutants import CATALOGUE
from tests.sim.mutation import checker_of, hunt
from tests.sim.patching import changed

SAMPLE = {
    "acknowledge-before-fsync": "I1 I3",
    "boot-from-the-counter-alone": "I12",
    "cancel-lets-run": "I9",
    "checkpoints-are-forgotten": "I6",
    "commit-without-comparing": "I6",
}


@pytest.mark.parametrize("name", SAMPLE)
def test_a_planted_bug_is_found(name: str) -> None:
    find = hunt(name, range(1, 21), seconds=30.0)
    assert find is not None, f"{name} lives"
    assert find.checker in SAMPLE[name].split(), find.text


def test_each_mutant_can_be_planted_and_is_taken_back() -> None:
    assert len(CATALOGUE) >= 30
    for mutant in CATALOGUE.values():
        assert mutant.description.endswith("."), mutant.name
        changes = mutant.change()
        before = [owner.__dict__[name] for owner, name, _ in changes]
        with changed(*changes):
            assert all(owner.__dict__[name] is value for owner, name, value in changes)
        assert [owner.__dict__[name] for owner, name, _ in changes] == before


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_mutant_takes_what_it_replaces_was_given(name: str) -> None:
    """Else it would be found by its own TypeError."""
    for owner, place, planted in CATALOGUE[name].change():
        both = [getattr(each, "__func__", each) for each in (owner.__dict__[place], planted)]
        if all(map(inspect.isfunction, both)):
            wanted, given = (list(inspect.signature(each).parameters.values()) for each in both)
            if not any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in given):
                assert len(given) == len(wanted), f"{place} is given {', '.join(map(str, wanted))}"


def test_a_failure_is_named_after_its_checker() -> None:
    assert checker_of("AssertionError: I13: somebody is not seen (members_agree, line 3)") == "I13"
    assert checker_of("KeyError: 'x' (apply, line 3)") == "KeyError"
