"""A catalogue of planted bugs: each is a change of the code that ships which somebody could have made, by name.

`make sim-mutants` (`mutation`) plants them one at a time. A mutant says nothing of how it is to be found.
"""

from collections.abc import Callable
from typing import NamedTuple

from tests.sim import mutants_execution, mutants_gossip, mutants_state
from tests.sim.patching import Change


class Mutant(NamedTuple):
    """`change()`: what stands where meanwhile."""

    name: str
    description: str
    change: Callable[[], list[Change]]


CATALOGUE = {
    name: Mutant(name, (change.__doc__ or "").strip(), change)
    for area in (mutants_state, mutants_execution, mutants_gossip)
    for name, change in area.MUTANTS.items()
}
