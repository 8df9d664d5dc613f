"""Submitting tasks: files one by one, or lines in bulk."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from node.cli.failures import FAILED, OK, PARTLY, USAGE, Failure, clean, problem_text
from node.cli.look import task_row
from node.cli.output import emit
from node.cli.session import HERE, Output, Reach, speak, verdict
from node.cli.spec_files import read_specs
from node.cli.watch import follow
from node.schema import BatchAnswer, Task

if TYPE_CHECKING:
    from node.client import Client

LINES, BYTES = 5000, 8 << 20
"""Most lines and bytes of one bulk request."""


def submit(
    *files: Annotated[str, Parameter(name="file", allow_leading_hyphen=True)],
    bulk: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    durability: int | None = None,
    wait: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """Submit tasks.

    Parameters
    ----------
    files: Task files: TOML, YAML or JSON; - for standard input.
    bulk: A file with one JSON task a line (- for standard input), sent in large requests.
    force: Collect a range again although it is covered.
    durability: Disks that must hold the task before the answer, 1 or 2 (default: the node's).
    wait: Follow the tasks to their end.
    """
    for name in files:
        if name.startswith("-") and name != "-":
            raise Failure(f"unknown option: {name} (a file of that name: ./{name})", USAGE)
    if durability not in (None, 1, 2):
        raise Failure("--durability is 1 or 2", USAGE)
    if bulk is not None:
        if files or wait:
            raise Failure("--bulk goes with neither files nor --wait", USAGE)
        return _bulk(bulk, durability, output, reach, force=force)
    if not files:
        raise Failure("submit what? name a task file, or - for standard input", USAGE)
    specs = [spec for name in files for spec in read_specs(name)]
    tasks, refused = speak(reach, lambda client: _submit(client, specs, durability, force=force))
    if tasks:
        emit(tasks, [task_row(task) for task in tasks], output)
    _complain(tasks, refused)
    code = verdict(refused, len(specs))
    if wait and tasks:
        with nullcontext() if output == "table" else redirect_stdout(sys.stderr):
            ended = speak(reach, lambda client: follow(client, [task.id for task in tasks], tenant=None))
        code = code if ended == OK else PARTLY if code == PARTLY else ended
    return code


def _complain(tasks: list[Task], refused: list[str]) -> None:
    for text in [*(f"warning: {task.id}: {clean(w)}" for task in tasks for w in task.warnings), *refused]:
        print(text, file=sys.stderr)


async def _submit(
    client: "Client", specs: list[tuple[str, Any]], durability: int | None, *, force: bool
) -> tuple[list[Task], list[str]]:
    from node.client import ProblemError

    tasks: list[Task] = []
    refused: list[str] = []
    for label, spec in specs:
        try:
            tasks.append(await client.submit(spec, durability=durability, force=force))
        except ProblemError as error:
            refused.append(f"{label}: {problem_text(error.problem)}")
    return tasks, refused


def _bulk(path: Path, durability: int | None, output: Output, reach: Reach, *, force: bool) -> int:
    """Requests of many lines; what is refused is named by its line, the rest is taken."""

    async def work(client: "Client") -> BatchAnswer:
        whole = BatchAnswer(accepted=0, ids=[], rejected=[], durability=2)
        for first, lines in _chunks(path):
            answer = await client.submit_batch(b"\n".join(lines), durability=durability, force=force)
            for line in answer.rejected:
                line.line += first
            whole.accepted += answer.accepted
            whole.ids += answer.ids
            whole.rejected += answer.rejected
            whole.durability = min(whole.durability, answer.durability)
        return whole

    answer = speak(reach, work)
    if output == "table":
        print(f"{answer.accepted:,} accepted, {len(answer.rejected):,} refused, on {answer.durability} disks")
    else:
        emit(answer, [{"line": i, "id": ref} for i, ref in enumerate(answer.ids)], output)
    for line in answer.rejected:
        print(f"{path} line {line.line}: {problem_text(line.problem)}", file=sys.stderr)
    if not answer.rejected:
        return OK
    return PARTLY if answer.accepted else FAILED


def _chunks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """(lines before, lines) of each request; empty lines stay, so that line numbers are the file's."""
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            yield from _cut(file)
    except OSError as error:
        raise Failure(f"{path}: cannot be read: {error.strerror}", USAGE) from None


def _cut(file: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    first, lines, size = 0, list[bytes](), 0
    for raw in file:
        line = raw.rstrip(b"\r\n")
        if lines and (len(lines) >= LINES or size + len(line) > BYTES):
            yield first, lines
            first, lines, size = first + len(lines), [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield first, lines
