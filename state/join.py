"""What a set of facts means: the merge rules, as pure functions of all facts of a task, in whatever order
they came.

Rules. Facts of a run: by token, then position; a terminal state is final, succeeded > partial > cancelled >
failed.
Cancel is absorbing for every run asked for up to its revision; other wishes count by (revision, time, kind).
The plan
of the lowest token is the plan. A shard that ended for one steward has ended for all, the better end counts.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from state.entries import Batch, RunFacts, TaskFacts
from state.model import FIRST_RUN, Ended, Letter, Live, Plan, RunFact, Totals, Wish

TERMINAL = frozenset({"succeeded", "partial", "cancelled", "failed"})
_FINALITY = {"running": 0, "failed": 1, "cancelled": 2, "partial": 3, "succeeded": 4}


class Request(msgspec.Struct, frozen=True):
    """A run that a user asked for: at submit, by submitting again, by `retry`, or to replay letters.

    `revision`: of the wish (0: the submit itself). `origin`: for a retry, the run that it takes over.
    """

    run: str
    revision: int
    at_ms: int
    kind: str
    origin: str = ""
    arguments: dict[str, Any] = {}


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """What the user wants of a task, all wishes joined."""

    revision: int = 0
    updated_ms: int = 0
    paused: bool = False
    paused_by: str = ""
    cancelled_at: int = -1
    deleted: bool = False
    priority: int | None = None
    limits: dict[str, Any] | None = None
    retry: dict[str, Any] | None = None
    spec: bytes | None = None
    spec_revision: int = 0
    generation: int = 0
    rescheduled_ms: int = 0
    """Since when the schedule is what it is, if a replacement changed it."""
    requests: tuple[Request, ...] = ()

    def cancelled(self, request: Request) -> bool:
        return request.revision <= self.cancelled_at


NOTHING_DESIRED = Desired()


def _order(wish: Wish) -> tuple[int, int, str, bytes]:
    """The last part decides only between wishes of one kind of the same millisecond: all replicas hold the
    same bytes. JSON could not tell every value that a hostile author may have put into the arguments."""
    return (wish.revision, wish.at_ms, wish.kind, msgspec.msgpack.encode(wish))


def desired(wishes: Iterable[Wish]) -> Desired:
    """All wishes of one task joined; independent of their order and of repetition."""
    found = list(wishes)
    ordered = sorted(found, key=_order) if len(found) > 1 else found
    if not ordered:
        return NOTHING_DESIRED
    state: dict[str, Any] = {"cancelled_at": -1, "generation": 0}
    requests: dict[str, Request] = {}
    for wish, before in zip(ordered, [None, *ordered], strict=False):
        if wish != before and _understood(wish):
            _fold(state, requests, wish)
    return Desired(
        revision=ordered[-1].revision,
        updated_ms=max(wish.at_ms for wish in ordered),
        requests=tuple(sorted(requests.values(), key=lambda request: (request.revision, request.run))),
        **state,
    )


_ARGUMENTS: dict[str, tuple[tuple[str, Any], ...]] = {
    "priority": (("priority", int | None),),
    "limits": (("limits", dict | None),),
    "retry-policy": (("retry", dict | None),),
    "replace": (("spec", bytes), ("generation", int | None)),
}


def _understood(wish: Wish) -> bool:
    """Whether the arguments are what the kind needs; a wish that lacks them counts only as a revision."""
    needed = _ARGUMENTS.get(wish.kind, ())
    return all(
        (name in wish.arguments or name == "generation") and isinstance(wish.arguments.get(name), kind)
        for name, kind in needed
    )


def _fold(state: dict[str, Any], requests: dict[str, Request], wish: Wish) -> None:
    arguments = wish.arguments
    match wish.kind:
        case "pause":
            state["paused"], state["paused_by"] = True, wish.by
        case "resume":
            state["paused"] = False
        case "cancel":
            state["cancelled_at"] = max(state["cancelled_at"], wish.revision)
        case "delete":
            state["deleted"] = True
            state["cancelled_at"] = max(state["cancelled_at"], wish.revision)
        case "undelete":
            state["deleted"] = False
        case "priority":
            state["priority"] = arguments["priority"]
        case "limits":
            state["limits"] = arguments["limits"]
        case "retry-policy":
            state["retry"] = arguments["retry"]
        case "replace":
            state["spec"], state["spec_revision"] = arguments["spec"], wish.revision
            state["generation"] += arguments.get("generation") or 0
            if arguments.get("rescheduled"):
                state["rescheduled_ms"] = wish.at_ms
            state.update(priority=None, limits=None, retry=None)
        case "run" | "retry" | "letters":
            _request(requests, wish)
        case _:
            pass  # a later version's wish; this one cannot know it


def _request(requests: dict[str, Request], wish: Wish) -> None:
    name = wish.run.rpartition("-")[
        2
    ]  # the hash of the request's key: a repeat through another node is the same run
    known = requests.get(name)
    if known is None or (wish.revision, wish.run) < (known.revision, known.run):
        requests[name] = Request(
            wish.run,
            wish.revision,
            wish.at_ms,
            wish.kind,
            str(wish.arguments.get("origin", "")),
            wish.arguments,
        )


def better_end(first: Ended, second: Ended) -> Ended:
    """The end that counts of two of one shard: succeeded > cancelled > failed, then the larger token, then
    the later; between two that are alike in all this anything that all replicas decide alike."""
    return max(
        first,
        second,
        key=lambda end: (_FINALITY.get(end.state, 0), end.token, end.at_ms, msgspec.msgpack.encode(end)),
    )


def plan_of(run: RunFacts) -> Plan | None:
    """The plan of the lowest token; None before there is one."""
    return min(run.plans.values(), key=lambda plan: plan.token, default=None)


def run_fact(facts: Mapping[Any, RunFact] | Iterable[RunFact]) -> RunFact | None:
    """The fact of a run that counts; None where nobody has started it."""
    values = facts.values() if isinstance(facts, Mapping) else facts
    return max(
        values, key=lambda fact: (_FINALITY.get(fact.state, 0), fact.token, fact.finished_ms), default=None
    )


def live_shards(run: RunFacts) -> dict[str, Live]:
    """Shards under way by key, the fact of the largest token each; ended ones are left out."""
    result: dict[str, Live] = {}
    for author in sorted(run.live):
        for key, live in run.live[author].shards.items():
            known = result.get(key)
            if key not in run.ended and (
                known is None or (live.token, live.at_ms) > (known.token, known.at_ms)
            ):
                result[key] = live
    return result


def totals(run: RunFacts) -> Totals:
    """Records and bytes over all shards that ended or are under way."""
    total = Totals()
    for ended in run.ended.values():
        total = total.plus(ended.totals)
    for live in live_shards(run).values():
        total = total.plus(live.totals)
    return total


def letters_of(task: TaskFacts, replay: str = "") -> list[tuple[str, Letter]]:
    """`(run, letter)` of the dead letters that are still listed, by run and id. What a replay has brought home
    leaves the list when the replay is published. `replay`: the name of one that is taken to be.
    """
    runs = [run for name, run in task.runs.items() if run.cleared and (name == replay or _published(run))]
    cleared = {i for run in runs for i in run.cleared}
    return [
        (name, run.letters[i])
        for name, run in sorted(task.runs.items())
        for i in sorted(run.letters)
        if i not in cleared
    ]


def _published(run: RunFacts) -> bool:
    fact = run_fact(run.facts)
    return fact is not None and fact.state in ("succeeded", "partial")


def first_request(batch: Batch) -> Request:
    """The run that the submit of the batch asked for."""
    return Request(FIRST_RUN, 0, batch.created_ms, "run")


def covered(task: TaskFacts, generation: int) -> list[tuple[str, tuple[Any, Any]]]:
    """`(run, [from, to))` of every published shard of the generation's runs; a retry repeats nothing."""
    found: dict[tuple[str, str], tuple[str, tuple[Any, Any]]] = {}
    for name, run in sorted(task.runs.items()):
        fact, plan = run_fact(run.facts), plan_of(run)
        if fact is None or plan is None or fact.generation != generation or not fact.published:
            continue
        for shard in plan.shards:
            ended = run.ended.get(shard.key)
            if ended is not None and ended.state == "succeeded" and shard.covers is not None:
                found[fact.origin or name, shard.key] = (name, shard.covers)
    return [found[key] for key in sorted(found)]
