"""Looking at tasks: list, show, why, errors."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from node.cli.failures import OK, clean
from node.cli.output import colourful, emit, facts, table
from node.cli.session import HERE, Output, Reach, Tenant, speak
from node.schema import Coverage, Run, Task

if TYPE_CHECKING:
    from node.client import Client

PAGE = 1000


def list_tasks(
    *,
    state: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    tenant: str | None = None,
    name: str | None = None,
    limit: int = 100,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """List tasks.

    Parameters
    ----------
    state: Only these states; may be repeated.
    tenant: Only this tenant.
    name: Only tasks of this name.
    limit: At most so many; 0 for all.
    """

    async def fetch(client: "Client") -> tuple[list[Task], bool, list[str]]:
        found: list[Task] = []
        cursor: str | None = None
        missing: list[str] = []
        while True:
            size = min(PAGE, limit - len(found)) if limit else PAGE
            page = await client.tasks(state=state, tenant=tenant, name=name, limit=size, cursor=cursor)
            found += page.items
            missing += page.missing
            cursor = page.next
            if cursor is None or (limit and len(found) >= limit):
                return found, cursor is not None, missing

    found, more, missing = speak(reach, fetch)
    emit(found, [task_row(task) for task in found], output)
    if more:
        print(f"more than {limit:,}: raise --limit, or --limit 0 for all", file=sys.stderr)
    if missing:
        print(f"nobody could answer for {len(missing)} slots: {', '.join(missing[:10])}", file=sys.stderr)
    return OK


def show(
    ref: Annotated[str, Parameter(name="id")],
    /,
    *,
    runs: bool = False,
    shards: bool = False,
    coverage: bool = False,
    spec: bool = False,
    tenant: Tenant = None,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """Show one task.

    Parameters
    ----------
    ref: The task: its id, a unique prefix of it, or its name.
    runs: Its runs, oldest first.
    shards: The shards of its last run.
    coverage: What is collected, what is missing, what twice.
    spec: Its specification, as JSON.
    """
    if runs:
        found = speak(reach, lambda client: client.runs(ref, tenant=tenant))
        emit(found, [run_row(run) for run in found], output)
    elif shards:
        pieces = speak(reach, lambda client: client.shards(ref, tenant=tenant))
        emit(pieces, [shard_row(msgspec.to_builtins(piece)) for piece in pieces], output)
    elif coverage:
        _show_coverage(speak(reach, lambda client: client.coverage(ref, tenant=tenant)), output)
    else:
        task = speak(reach, lambda client: client.task(ref, tenant=tenant))
        if spec:
            print(msgspec.json.format(msgspec.json.encode(task.spec), indent=2).decode())
        elif output == "table":
            print(task_text(task))
            for warning in task.warnings:
                print(f"warning: {clean(warning)}", file=sys.stderr)
        else:
            emit(task, [task_row(task)], output)
    return OK


def why(
    ref: Annotated[str, Parameter(name="id")],
    /,
    *,
    tenant: Tenant = None,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """Say why a task does, or does not, progress.

    Parameters
    ----------
    ref: The task: its id, a unique prefix of it, or its name.
    """
    answer = speak(reach, lambda client: client.why(ref, tenant=tenant))
    if output != "table":
        emit(
            answer,
            [{"task": answer.task, "state": answer.state, "reason": r} for r in answer.reasons],
            output,
        )
        return OK
    print(facts({"task": answer.task, "state": answer.state}, colour=colourful()))
    for reason in answer.reasons:
        print(f"- {reason}")
    if answer.nodes:
        names = sorted({name for node in answer.nodes for name in node})
        print(table([{name: node.get(name) for name in names} for node in answer.nodes]))
    return OK


def errors(
    ref: Annotated[str, Parameter(name="id")],
    /,
    *,
    dead_letters: bool = False,
    tenant: Tenant = None,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """Show the errors of a task, grouped.

    Parameters
    ----------
    ref: The task: its id, a unique prefix of it, or its name.
    dead_letters: The records that were set aside, one JSON object a line, to edit and give to `retry --file`.
    """
    if dead_letters:
        return _print_letters(ref, tenant, output, reach)
    found = speak(reach, lambda client: client.errors(ref, tenant=tenant))
    emit(found, [_error_row(msgspec.to_builtins(entry)) for entry in found], output)
    return OK


def _print_letters(ref: str, tenant: str | None, output: Output, reach: Reach) -> int:
    """As lines unless another form is wanted: they are made to be edited."""

    async def fetch(client: "Client") -> list[Any]:
        letters: list[Any] = []
        cursor: str | None = None
        while True:
            page = await client.dead_letters(ref, tenant=tenant, cursor=cursor, limit=PAGE)
            letters += page.items
            cursor = page.next
            if cursor is None:
                return letters

    letters = speak(reach, fetch)
    emit(
        letters, [msgspec.to_builtins(letter) for letter in letters], "jsonl" if output == "table" else output
    )
    return OK


def task_row(task: Task) -> dict[str, Any]:
    run = task.run
    return {
        "id": task.id,
        "name": task.name,
        "tenant": task.tenant,
        "state": task.state,
        "mode": task.mode,
        "priority": task.priority,
        "progress": percent(run),
        "records": run.records.written if run else None,
        "steward": task.steward,
        "next_run": task.next_run_at,
    }


def percent(run: Run | None) -> str | None:
    return None if run is None or run.progress is None else f"{run.progress:.0%}"


def task_text(task: Task) -> str:
    """What `show` and `submit` say of one task."""
    run = task.run
    head = {
        "id": task.id,
        "name": task.name,
        "tenant": task.tenant,
        "state": task.state,
        "reason": task.reason,
        "mode": task.mode,
        "priority": str(task.priority),
        "steward": task.steward,
        "next run": task.next_run_at,
        "created": task.created_at,
        "revision": str(task.revision),
    }
    if run is not None:
        head |= {
            "run": run.id,
            **{f"run {k}": v for k, v in run_row(run).items() if k != "run" and v is not None},
        }
    return facts(head, colour=colourful())


def run_row(run: Run) -> dict[str, Any]:
    records = run.records
    return {
        "run": run.id,
        "state": run.state,
        "progress": percent(run),
        "read": records.read,
        "written": records.written,
        "skipped": records.skipped,
        "dead": records.dead,
        "rate": None if run.rate is None else f"{run.rate:,.0f}/s",
        "eta": None if run.eta_s is None else f"{run.eta_s:,.0f} s",
        "shards": " ".join(f"{count} {state}" for state, count in run.shards.items()) or None,
        "started": run.started_at,
        "finished": run.finished_at,
        "error": run.error,
    }


def shard_row(shard: dict[str, Any]) -> dict[str, Any]:
    records = shard["records"]
    kept = ("id", "state", "node", "attempt", "from", "to", "position")
    return {**{name: shard[name] for name in kept}, "written": records["written"], "error": shard["error"]}


def _error_row(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("run", "shard", "step", "code", "count", "attempt", "at", "retry_at", "node", "reason")
    return {name: entry[name] for name in names}


def _show_coverage(answer: Coverage, output: Output) -> None:
    kinds = (("covered", answer.covered), ("gap", answer.gaps), ("overlap", answer.overlaps))
    rows = [{"kind": kind, "from": span[0], "to": span[1]} for kind, spans in kinds for span in spans]
    if output != "table":
        emit(answer, rows, output)
        return
    wanted = None if answer.wanted is None else f"{answer.wanted[0]} .. {answer.wanted[1]}"
    print(facts({"task": answer.task, "field": answer.field, "wanted": wanted, "cursor": answer.cursor}))
    print(table(rows))
