"""Planted bugs of membership."""

from collections.abc import Callable
from typing import Any

from gossip import claims
from gossip.claims import Claims
from gossip.contacts import Contacts
from gossip.own import Own
from tests.sim.patching import Change, around

MUTANTS: dict[str, Callable[[], list[Change]]] = {}


def planted(change: Callable[[], list[Change]]) -> Callable[[], list[Change]]:
    MUTANTS[change.__name__.replace("_", "-")] = change
    return change


@planted
def contacts_are_forgotten() -> list[Change]:
    """The dead are never looked for again."""
    return [(Contacts, "buried", lambda self: None)]


@planted
def accusations_are_borne() -> list[Change]:
    """Who hears that it is suspected does not refute."""
    return [(Own, "_refute", lambda self, accused, now: None)]


@planted
def equal_incarnation_wins() -> list[Change]:
    """An alive of the same incarnation overrides a suspicion."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def alive(self: Claims, claim: Any, teller: Any, now: float) -> None:
            known = self._core.table.members.get(claim.id)
            if known is not None and known.incarnation == claim.incarnation and known.state != "alive":
                self._become(known, claim.incarnation, type(known.state)("alive"), now)
            real(self, claim, teller, now)

        return alive

    return [around(Claims, "alive", wrap)]


@planted
def suspicions_never_end() -> list[Change]:
    """A suspicion is never followed by a death."""
    return [(Claims, "expired", lambda self, about, now: None)]


@planted
def others_raise_incarnations() -> list[Change]:
    """Who suspects a member raises its incarnation, to be sure to be believed."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def become(self: Claims, known: Any, incarnation: int, state: Any, now: float) -> None:
            real(self, known, incarnation + (state == "dead"), state, now)

        return become

    return [around(Claims, "_become", wrap)]


@planted
def old_claims_count() -> list[Change]:
    """A claim of an earlier incarnation is taken."""
    return [(claims, "precedes", lambda incarnation, state, known: state is not known.state)]


@planted
def new_life_is_not_news() -> list[Change]:
    """A restart within the same state is not told to the rest of the node."""
    return [
        (
            claims,
            "_looks_same",
            lambda known, member: known.state is member.state and known.address == member.address,
        )
    ]
