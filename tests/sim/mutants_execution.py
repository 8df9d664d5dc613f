"""Planted bugs of ownership, stewardship, leases and sinks."""

import copy
from collections.abc import Callable
from typing import Any

from gossip.member import State
from node import operations
from node.execution import failures
from node.execution.executor import Executor
from node.serving.listing import Listing
from node.stewardship import handover as handing
from node.stewardship import ownership, table
from node.stewardship.bulk import BulkGroup
from node.stewardship.leasing import Leasing
from node.stewardship.ownership import Ownership
from node.stewardship.recording import Recording
from node.stewardship.run import RunWork, ShardWork
from node.stewardship.steward import Steward
from node.stewardship.work import TaskWork
from plugins import ordering
from sharding.slots import group_digest
from state import model
from state.model import Token
from tests.sim.model import ModelSink, Place
from tests.sim.patching import Change, around

MUTANTS: dict[str, Callable[[], list[Change]]] = {}


def planted(change: Callable[[], list[Change]]) -> Callable[[], list[Change]]:
    MUTANTS[change.__name__.replace("_", "-")] = change
    return change


# ---- ownership


@planted
def no_takeover_delay() -> list[Change]:
    """The slots of a dead steward are taken at once."""
    return [(Ownership, "_recently_dead", lambda self, holder, boot, now: False)]


@planted
def suspects_lose_their_slots() -> list[Change]:
    """A suspicion is enough to take a node's slots."""
    return [(ownership, "_alive", lambda member: member.state is State.ALIVE)]


@planted
def epoch_is_not_raised() -> list[Change]:
    """A new claim bears the epoch of the one that it replaces."""
    return [(table, "next_token", lambda claim, me, boot: (max(1, claim[0]), me, boot))]


@planted
def leases_under_a_replaced_claim() -> list[Change]:
    """Who still has a slot from before another claimed it leases on as before, once the other is gone."""
    return [(table.Table, "overtaken", lambda self, slot: False)]


@planted
def handover_keeps_the_epoch() -> list[Change]:
    """Who is handed a slot claims it with the epoch of the old steward."""

    def handover(self: Steward, slots: Any) -> None:
        for slot in slots:
            if slot not in self.table.mine and self.table.me in self.table.ownership.placement.owners(slot):
                claim = self.table.replicator.ledger(slot).claim()
                self.table.mine[slot] = (claim[0], self.table.me, self.table.boot)
                self.table.write(slot, None, model.key_of("e", self.table.writer), model.Claim(claim[0]))
                self._adopt_slot(slot)

    return [(Steward, "handover", handover)]


@planted
def slots_never_go_home() -> list[Change]:
    """A replica that has come back is not given its slots again."""
    return [(handing, "returned", lambda table: [])]


@planted
def adopted_once_for_ever() -> list[Change]:
    """Who had a slot before does not look at its tasks again when it comes back."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def release(self: Steward, slot: int) -> None:
            adopted = copy.deepcopy(self._adopted)
            real(self, slot)
            self._adopted = adopted

        return release

    return [around(Steward, "_release_slot", wrap)]


# ---- leases


@planted
def leases_outlive_their_node() -> list[Change]:
    """What a dead node had leased is not leased again."""
    return [(Leasing, "node_lost", lambda self, node: None)]


@planted
def lost_leases_stay_lost() -> list[Change]:
    """A lease that never reached its executor is not given again."""
    return [(Leasing, "holding", lambda self, node, keys: None)]


@planted
def any_token_is_taken() -> list[Change]:
    """An executor takes the token and the owner of an older lease."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def lease(self: Executor, owner: Any, jobs: list[Any], now: float) -> None:
            real(self, owner, jobs, now)
            for job in jobs:
                held = self._leases.get(job.key)
                if held is not None:
                    held.token, held.owner = job.token, owner

        return lease

    return [around(Executor, "lease", wrap)]


@planted
def final_reports_are_said_once() -> list[Change]:
    """A final report that nobody has noted is not repeated."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def tick(self: Executor, now: float) -> None:
            self._next_repeat = now + 1.0
            real(self, now)

        return tick

    return [around(Executor, "tick", wrap)]


@planted
def bulk_leases_vanish_with_their_node() -> list[Change]:
    """Small tasks that a dead node had leased are dropped."""

    def give_up(self: BulkGroup, node: Any) -> int:
        lost = [index for index, (holder, _) in self.leased.items() if holder == node]
        for index in lost:
            del self.leased[index]
        return len(lost)

    return [(BulkGroup, "give_up", give_up)]


@planted
def pause_lets_run() -> list[Change]:
    """A pause keeps new leases back and lets those under way go on."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def queue(self: Steward, work: Any) -> None:
            if not work.desired.paused:
                real(self, work)

        return queue

    return [around(Steward, "_queue", wrap)]


@planted
def cancel_lets_run() -> list[Change]:
    """A cancel ends the run in the ledger and leaves its executors alone."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def revoke(self: Leasing, work: Any, *, drain: bool) -> None:
            if drain:
                real(self, work, drain=drain)

        return revoke

    return [around(Leasing, "revoke", wrap)]


# ---- runs


@planted
def leases_before_the_plan_is_durable() -> list[Change]:
    """The shards of a plan are leased when it is made, not when it is on disk."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def planned(self: Recording, work: Any, run: RunWork, report: Any) -> None:
            real(self, work, run, report)
            if run.phase == "wait":
                made = [model.PlannedShard(p.key, p.start, p.end) for p in report.plans]
                run.adopt_plan(made)
                run.advance()
                self.table.backlog.push(work)

        return planned

    return [around(Recording, "_planned_run", wrap)]


@planted
def attempts_are_not_counted() -> list[Change]:
    """A shard that failed is tried again as if for the first time."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def failed(self: Recording, work: Any, run: Any, shard: ShardWork, report: Any) -> None:
            attempt = shard.attempt
            real(self, work, run, shard, report)
            shard.attempt = attempt

        return failed

    return [around(Recording, "_failed", wrap)]


@planted
def outcomes_of_a_last_portion_are_dropped() -> list[Change]:
    """The outcomes of a batch whose tasks are all done are not written."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def take(self: BulkGroup, at_ms: int) -> Any:
            return real(self, at_ms) if len(self) else None

        return take

    return [around(BulkGroup, "take_outcomes", wrap)]


@planted
def finished_tasks_are_adopted() -> list[Change]:
    """Who takes a slot over runs its finished small tasks again."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def adopt(self: Steward, slot: int, name: str) -> None:
            entry = self.table.replicator.ledger(slot).batches[name]
            done, entry.done = entry.done, type(entry.done)()
            try:
                real(self, slot, name)
            finally:
                entry.done |= done

        return adopt

    return [around(Steward, "_adopt_batch", wrap)]


@planted
def checkpoints_are_forgotten() -> list[Change]:
    """A lease that is given again starts at the beginning."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def release(self: ShardWork) -> None:
            real(self)
            self.position = None

        return release

    return [around(ShardWork, "release", wrap)]


@planted
def cursor_moves_in_the_run() -> list[Change]:
    """The cursor is moved with each fact of a run, not once when it has succeeded."""
    return [_cursor_in(("running", "failed", "succeeded", "partial"))]


@planted
def cursor_at_the_end_of_the_plan() -> list[Change]:
    """The end of the plan, which lies behind its last value, is taken for the highest value."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def fact(self: RunWork, state: str, **fields: Any) -> Any:
            if fields.get("cursor") is not None:
                fields["cursor"] = max(
                    (shard.plan.end for shard in self.shards.values()), default=fields["cursor"]
                )
            return real(self, state, **fields)

        return fact

    return [around(RunWork, "fact", wrap)]


def _cursor_in(states: tuple[str, ...]) -> Change:
    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def fact(self: RunWork, state: str, **fields: Any) -> Any:
            if state in states and self.effective.spec.incremental is not None:
                for shard in self.shards.values():
                    fields["cursor"] = ordering.highest(fields.get("cursor"), shard.high)
            return real(self, state, **fields)

        return fact

    return around(RunWork, "fact", wrap)


# ---- sinks


@planted
def commit_without_comparing() -> list[Change]:
    """A sink takes what it is given, wherever its position is by then."""

    def commit(self: ModelSink, place: Place, start: int, expected: int, to: int, token: Token) -> bool:
        self.positions[place] = to
        self.append(place, expected, to)
        return True

    return [(ModelSink, "commit", commit)]


@planted
def position_without_the_data() -> list[Change]:
    """Who loses the comparison believes that what it had read is in the sink."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def commit(self: ModelSink, place: Place, start: int, expected: int, to: int, token: Token) -> bool:
            if not real(self, place, start, expected, to, token):
                self.positions[place] = max(self.positions.get(place, start), to)
            return True

        return commit

    return [around(ModelSink, "commit", wrap)]


@planted
def commit_under_a_token_of_its_own() -> list[Change]:
    """A sink is told the epoch that the executor would have as a steward."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def commit(self: ModelSink, place: Place, start: int, expected: int, to: int, token: Token) -> bool:
            taken: bool = real(self, place, start, expected, to, (token[0] + 1, *token[1:]))
            return taken

        return commit

    return [around(ModelSink, "commit", wrap)]


# ---- secrets


@planted
def errors_tell_secrets() -> list[Change]:
    """The text of a failure is reported as the plugin wrote it."""
    return [(failures, "scrub", lambda text, values: text)]


# ---- tenants


@planted
def jobs_of_nobody() -> list[Change]:
    """Work is leased for the default tenant, whosever task it is."""
    return [(TaskWork, "tenant", property(lambda self: "default"))]


@planted
def keys_of_all_tenants() -> list[Change]:
    """A key means the same request, whichever tenant uses it."""
    return [(operations, "group_digest", lambda tenant, key, number: group_digest("", key, number))]


@planted
def lists_of_all_tenants() -> list[Change]:
    """A list that is asked for one tenant has the tasks of all."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def matching(self: Listing, arguments: dict[str, Any]) -> Any:
            return real(self, {**arguments, "tenant": None})

        return matching

    return [around(Listing, "_matching", wrap)]
