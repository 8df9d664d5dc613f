"""What all commands share: the options that name a node, and how a call to it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import Parameter

from node.cli.contexts import target
from node.cli.failures import FAILED, OK, PARTLY, UNREACHABLE, Failure, problem_text
from node.cli.output import Format

if TYPE_CHECKING:
    from node.client import Client

T = TypeVar("T")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reach:
    """Which nodes to ask."""

    url: Annotated[
        tuple[str, ...], Parameter(negative="", help="A node's URL; may be repeated: others to go on with.")
    ] = ()
    token_file: Annotated[Path | None, Parameter(help="A file with the bearer token.")] = None
    context: Annotated[str | None, Parameter(help="A context of ~/.config/collect/contexts.toml.")] = None


Tenant = Annotated[str | None, Parameter(help="The tenant of a task given by name.")]
Output = Annotated[Format, Parameter(name=["-o", "--output"], help="How to print.")]
HERE = Reach()


def speak(reach: Reach, work: Callable[["Client"], Awaitable[T]]) -> T:
    """Run `work` with a client. Raises Failure for a refusal (exit code 1) and where no node answers (4)."""
    aim = target(reach.url, reach.token_file, reach.context)

    async def run() -> T:
        from node.client import Client

        async with Client(aim.urls, aim.token) as client:
            return await work(client)

    from node.client import ProblemError, Unreachable

    try:
        return asyncio.run(run())
    except ProblemError as error:
        raise Failure(problem_text(error.problem), FAILED) from None
    except Unreachable as error:
        raise Failure(str(error), UNREACHABLE) from None


def verdict(failures: Sequence[object], total: int) -> int:
    """The exit code of `total` attempts of which `failures` did not succeed."""
    if not failures:
        return OK
    return FAILED if len(failures) == total else PARTLY
