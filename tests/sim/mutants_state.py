"""Planted bugs of ledgers, their merge rules, replication and the log."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import structs

from gossip.versions import PROTOCOL
from node.core import Core
from node.effects import Resend, Send, Settled
from node.messages import Stored
from node.replication import Replicator
from node.ticket import Ticket
from state import document, join, model, sync
from state.entries import Batch
from state.envelope import Writer, writer_boot, writer_node
from state.index import Index
from state.ledger import Ledger
from state.storage import log
from tests.sim import node, workload
from tests.sim.patching import Change, around

MUTANTS: dict[str, Callable[[], list[Change]]] = {}


def planted(change: Callable[[], list[Change]]) -> Callable[[], list[Change]]:
    MUTANTS[change.__name__.replace("_", "-")] = change
    return change


# ---- durability


@planted
def acknowledge_before_fsync() -> list[Change]:
    """A write counts as durable here as soon as it is handed to the log."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def write(self: Replicator, slot: int, facts: Any, now: float) -> int:
            ticket: int = real(self, slot, facts, now)
            self._tickets[ticket].local = True
            return ticket

        return write

    return [around(Replicator, "write", wrap)]


@planted
def acknowledge_before_replicate() -> list[Change]:
    """The own disk counts as two."""
    return [(Ticket, "level", property(lambda self: 2 if self.local else 0))]


@planted
def stored_before_fsync() -> list[Change]:
    """A replica says Stored when it has applied an envelope, not when its disk has it."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def take(self: Replicator, sender: Any, items: list[bytes], now: float) -> None:
            real(self, sender, items, now)
            for _, to, names in self._waiting:
                if to is not None:
                    self._effects.append(Send(to, Stored(names)))

        return take

    return [around(Replicator, "_take", wrap)]


@planted
def relayed_is_not_logged() -> list[Change]:
    """What others wrote is applied and acknowledged, but not put into the own log."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def take(self: Replicator, sender: Any, items: list[bytes], now: float) -> None:
            before = len(self._pending)
            real(self, sender, items, now)
            del self._pending[before:]

        return take

    return [around(Replicator, "_take", wrap)]


@planted
def time_out_claims_two() -> list[Change]:
    """A write that nobody else confirmed in time is answered as if somebody had."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def settle(self: Replicator, ticket_id: int, ticket: Any, *, late: bool = False) -> None:
            real(self, ticket_id, ticket, late=late)
            if late:
                self._effects[-1] = Settled(ticket_id, ticket.want)

        return settle

    return [around(Replicator, "_settle", wrap)]


@planted
def torn_write_is_damage() -> list[Change]:
    """A record that a crash cut short keeps the node from starting."""
    return [(log._Scan, "torn", lambda self: False)]


@planted
def boot_from_the_counter_alone() -> list[Change]:
    """A restored data directory counts its boots on from where the backup was made."""
    return [(node, "boot_floor", lambda wall: 0)]


# ---- sequences and digests


@planted
def gaps_are_skipped() -> list[Change]:
    """An envelope is taken although an earlier one of its author is missing."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def apply(self: Ledger, envelope: Any) -> Any:
            if envelope.seq > self.heads.get(envelope.author, 0) + 1:
                self.heads[envelope.author] = envelope.seq - 1
            return real(self, envelope)

        return apply

    return [around(Ledger, "apply", wrap)]


@planted
def nothing_is_resent() -> list[Change]:
    """What another replica lacks is found out and not sent."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def compare(self: Replicator, sender: Any, slots: Any, *, answer: bool) -> None:
            real(self, sender, slots, answer=answer)
            self._effects = [effect for effect in self._effects if not isinstance(effect, Resend)]

        return compare

    return [around(Replicator, "_compare_heads", wrap)]


@planted
def first_of_a_range_is_not_resent() -> list[Change]:
    """A resend begins one envelope too late."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def missing(mine: Any, theirs: Any) -> list[tuple[Writer, int, int]]:
            return [(author, first + 1, last) for author, first, last in real(mine, theirs)]

        return missing

    return [around(sync, "missing", wrap)]


@planted
def digests_are_ignored() -> list[Change]:
    """A peer's digest is taken as proof that it has what we have."""
    return [(Replicator, "_compare_root", lambda self, sender, root: self.synced.add(sender))]


@planted
def hash_of_authors_alone() -> list[Change]:
    """A slot's digest covers who wrote in it, not how far."""

    def of(self: Ledger) -> bytes:
        return hashlib.blake2b(";".join(sorted(self.heads)).encode(), digest_size=8).digest()

    return [(Ledger, "hash", property(of))]


@planted
def strays_stay() -> list[Change]:
    """A node that no longer is a replica of a slot keeps for itself what only it holds of it."""
    return [(Replicator, "_offer_strays", lambda self, peer: None)]


@planted
def client_id_is_reused() -> list[Change]:
    """The CRDT documents of all nodes and lives bear one client id."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def init(self: document.Document, client_id: int) -> None:
            real(self, 1)

        return init

    return [around(document.Document, "__init__", wrap)]


# ---- merge rules


@planted
def wishes_are_not_numbered() -> list[Change]:
    """A wish is given the revision of the first one, whatever is known already."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def wish(*arguments: Any, **named: Any) -> Any:
            batch, key, fact = real(*arguments, **named)
            return batch, key, structs.replace(fact, revision=1)

        return wish

    return [around(workload, "wish", wrap)]


@planted
def wishes_in_order_of_arrival() -> list[Change]:
    """Wishes count in the order in which a replica heard of them."""
    return [(join, "_order", lambda wish: 0)]


@planted
def wishes_by_wall_clock() -> list[Change]:
    """Of two wishes the one with the later time of day counts, whichever was made knowing the other."""
    return [(join, "_order", lambda wish: (wish.at_ms, wish.revision, wish.kind))]


@planted
def resume_undoes_cancel() -> list[Change]:
    """A resume takes a cancel back."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def fold(state: dict[str, Any], requests: Any, wish: Any) -> None:
            real(state, requests, wish)
            if wish.kind == "resume":
                state["cancelled_at"] = -1

        return fold

    return [around(join, "_fold", wrap)]


@planted
def terminal_is_not_final() -> list[Change]:
    """The fact of the larger token counts, even if it says running where another says succeeded."""

    def fact_of(facts: Any) -> Any:
        values: Iterable[Any] = facts.values() if hasattr(facts, "values") else facts
        return max(values, key=lambda fact: (fact.token, fact.finished_ms), default=None)

    return [(join, "run_fact", fact_of)]


@planted
def delete_is_forgotten_on_resume() -> list[Change]:
    """Any wish after a delete brings the task back."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def fold(state: dict[str, Any], requests: Any, wish: Any) -> None:
            if wish.kind != "delete":
                state["deleted"] = False
            real(state, requests, wish)

        return fold

    return [around(join, "_fold", wrap)]


@planted
def last_claim_heard_counts() -> list[Change]:
    """The steward is who claimed last in order of arrival, not by the largest claim."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def add(self: Index, segment: Any, key: str, fact: Any) -> None:
            real(self, segment, key, fact)
            if isinstance(fact, model.Claim):
                author = Writer(key.split("|")[1])
                self.claim = (fact.epoch, writer_node(author), writer_boot(author))

        return add

    return [around(Index, "add", wrap)]


@planted
def early_facts_are_dropped() -> list[Change]:
    """What was known of a task before its spec came is forgotten when it comes."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def index(self: Index, segment: Any, key: str, name: str, part: Any) -> None:
            known = self.batches.get(name)
            if known is not None and not known.parts:
                self.batches[name] = Batch(segment, part)
            real(self, segment, key, name, part)

        return index

    return [around(Index, "_part", wrap)]


# ---- versions


@planted
def newer_kinds_go_to_everybody() -> list[Change]:
    """What an older node does not know is sent to it all the same."""
    return [(Core, "protocol_of", lambda self, node: PROTOCOL)]
