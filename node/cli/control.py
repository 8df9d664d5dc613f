"""Telling tasks what to do: pause, resume, retry, cancel, delete; by id, or all that match a filter."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from node.cli.failures import OK, USAGE, Failure, problem_text
from node.cli.look import task_row
from node.cli.output import Format, emit, table
from node.cli.session import HERE, Output, Reach, speak, verdict
from node.durations import duration
from node.schema import Task

if TYPE_CHECKING:
    from node.client import Client

PREVIEW = 10
"""Tasks that the preview of a bulk action names."""

Ids = Annotated[str, Parameter(name="id", help="Tasks: id, unique prefix of one, or name.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which tasks, where none is named; and how to name one."""

    state: Annotated[tuple[str, ...], Parameter(negative="", help="All in this state; may be repeated.")] = ()
    tenant: Annotated[
        str | None, Parameter(help="All of this tenant; with ids: the tenant of their names.")
    ] = None
    name: Annotated[str | None, Parameter(help="All of this name.")] = None
    all: Annotated[bool, Parameter(negative="", help="All tasks.")] = False
    yes: Annotated[bool, Parameter(name=["-y", "--yes"], negative="", help="Do not ask.")] = False

    @property
    def filtered(self) -> bool:
        return bool(self.state or self.tenant or self.name or self.all)


NONE = Chosen()


@dataclass(frozen=True)
class Order:
    """What to tell tasks, and how to speak and print."""

    action: str
    arguments: dict[str, Any]
    tenant: str | None
    output: Format
    reach: Reach


def pause(*ids: Ids, chosen: Chosen = NONE, output: Output = "table", reach: Reach = HERE) -> int:
    """Pause tasks; what is written stays, and they go on from there."""
    return _act(ids, chosen, Order("pause", {}, chosen.tenant, output, reach))


def resume(*ids: Ids, chosen: Chosen = NONE, output: Output = "table", reach: Reach = HERE) -> int:
    """Resume paused tasks."""
    return _act(ids, chosen, Order("resume", {}, chosen.tenant, output, reach))


def cancel(*ids: Ids, chosen: Chosen = NONE, output: Output = "table", reach: Reach = HERE) -> int:
    """Cancel tasks, for good."""
    return _act(ids, chosen, Order("cancel", {}, chosen.tenant, output, reach))


def retry(
    *ids: Ids,
    strategy: Literal["fixed", "linear", "exponential"] | None = None,
    attempts: int | None = None,
    delay: str | None = None,
    max_delay: str | None = None,
    dead_letters: Annotated[bool, Parameter(negative="")] = False,
    file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    code: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    letter: Annotated[tuple[str, ...], Parameter(name="--id", negative="")] = (),
    chosen: Chosen = NONE,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """Run failed tasks again from where they stopped, or replay dead letters: the task stays partial while any is left.

    Parameters
    ----------
    strategy: How the delay between attempts grows.
    attempts: How often to try in a row without getting any further, the first time counted.
    delay: The first delay, such as 5s.
    max_delay: The longest delay, such as 10m.
    dead_letters: Replay dead letters instead: all, or those of --file, --code, --id.
    file: Dead letters from `collect errors ID --dead-letters`, edited or not.
    code: Replay those with this code; may be repeated.
    letter: Replay the one with this id; may be repeated.
    """
    arguments = {
        "strategy": strategy,
        "attempts": attempts,
        "delay": _seconds("--delay", delay),
        "max_delay": _seconds("--max-delay", max_delay),
        **_letters(dead_letters, file, code, letter),
    }
    given = {name: value for name, value in arguments.items() if value is not None}
    return _act(ids, chosen, Order("retry", given, chosen.tenant, output, reach))


def delete(
    *ids: Ids,
    tenant: Annotated[str | None, Parameter(help="The tenant of tasks given by name.")] = None,
    yes: Annotated[bool, Parameter(name=["-y", "--yes"], negative="", help="Do not ask.")] = False,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """Delete tasks: their history and what is known of them; published rows stay where they are."""
    if not ids:
        raise Failure("which task? name at least one id", USAGE)
    if not yes:
        confirm(f"delete {', '.join(ids)}?")
    return _each(ids, Order("delete", {}, tenant, output, reach))


def _act(ids: tuple[str, ...], chosen: Chosen, order: Order) -> int:
    if ids:
        if chosen.state or chosen.name or chosen.all:
            raise Failure("name tasks by id, or choose them by --state, --name, --all: not both", USAGE)
        return _each(ids, order)
    if not chosen.filtered:
        raise Failure(
            f"{order.action} which tasks? name ids, or choose by --state, --tenant, --name, --all", USAGE
        )
    return _matching(chosen, order)


def confirm(question: str) -> None:
    """Ask on the terminal; anything but yes ends the command. Without a terminal --yes is needed."""
    if not sys.stdin.isatty():
        raise Failure(f"{question} say --yes: there is no terminal to ask on", USAGE)
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise Failure("nothing was done")


def _each(ids: tuple[str, ...], order: Order) -> int:
    """One request an id; those refused are reported, the others are carried out."""

    async def work(client: "Client") -> tuple[list[Task], list[str]]:
        from node.client import ProblemError

        done: list[Task] = []
        refused: list[str] = []
        for ref in ids:
            try:
                done.append(await _tell(client, ref, order))
            except ProblemError as error:
                refused.append(f"{ref}: {problem_text(error.problem)}")
        return done, refused

    done, refused = speak(order.reach, work)
    if done:
        emit(done, [task_row(task) for task in done], order.output)
    for text in refused:
        print(text, file=sys.stderr)
    return verdict(refused, len(ids))


async def _tell(client: "Client", ref: str, order: Order) -> Task:
    if order.action == "delete":
        return await client.delete(ref, tenant=order.tenant)
    return await client.control(ref, order.action, order.arguments, tenant=order.tenant)


def _matching(chosen: Chosen, order: Order) -> int:
    """All that match, after a look at them and a yes."""
    action, reach = order.action, order.reach
    filters: dict[str, Any] = {"state": chosen.state, "tenant": chosen.tenant, "name": chosen.name}
    if not chosen.yes:
        page = speak(reach, lambda client: client.tasks(**filters, limit=1000))
        if not page.items:
            print("no task matches")
            return OK
        print(table([task_row(task) for task in page.items[:PREVIEW]]))
        more = "more than " if page.next else ""
        confirm(f"{action} {more}{len(page.items):,} tasks?")
    told = speak(
        reach, lambda client: client.control_many(action, order.arguments, **filters, all=chosen.all)
    )
    print(f"{action}: {told:,} tasks told")
    return OK


def _seconds(flag: str, text: str | None) -> float | None:
    try:
        return None if text is None else duration(text)
    except ValueError as error:
        raise Failure(f"{flag}: {error}", USAGE) from None


def _letters(
    every: bool,  # noqa: FBT001
    file: Path | None,
    codes: tuple[str, ...],
    ids: tuple[str, ...],
) -> dict[str, Any]:
    """The part of a retry that names dead letters."""
    if sum(map(bool, (file, codes or ids))) > 1:
        raise Failure("--file, or --code and --id: not both", USAGE)
    if file is not None:
        return {"letters": _read_letters(file)}
    if codes or ids:
        return {"codes": list(codes) or None, "ids": list(ids) or None}
    return {"dead_letters": True} if every else {}


def _read_letters(file: Path) -> list[Any]:
    letters = []
    try:
        lines = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file}: cannot be read: {error}", USAGE) from None
    for number, line in enumerate(lines, 1):
        try:
            letters += [msgspec.json.decode(line, type=dict[str, Any])] if line.strip() else []
        except msgspec.DecodeError as error:
            raise Failure(f"{file}:{number}: not a JSON object: {error}", USAGE) from None
    return letters
