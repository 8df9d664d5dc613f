"""/v1/tasks/batch: many tasks in one request, one JSON object a line.

Lines are checked while the body still arrives and go to the mesh in groups of 500 lines. A group's key is the
request's key and the group's number, so the same body sent again, through any node, is the same tasks.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable

import msgspec
from aiohttp import web

from node.api.answers import json_answer
from node.api.context import CONTEXT, service_of
from node.api.crowd import CROWD
from node.api.problems import count_errors, problem, refuse
from node.api.requests import BODY_TIMEOUT, check_parameters, idempotency_key, parameter_flag, parameter_int
from node.api.route import KEY, NDJSON, Parameter, Route
from node.api.tasks import DURABILITY
from node.schema import BatchAnswer, Problem, RejectedLine
from node.service import Refused, Service
from node.spec import Checked, InvalidSpec, SpecChecker

GROUP = 500
"""Lines: the unit in which the mesh packs and places a bulk submit."""
MAX_BATCH = 16 * 1024 * 1024
"""Bytes of a body. More tasks go in more requests."""
MAX_LINES = 100_000
"""Lines of a body: the answer says something of each."""
MAX_LINE = 256 * 1024
"""Bytes of one line."""
BATCH_TIMEOUT = 300.0
"""Seconds in which a whole body must have arrived, the time that the mesh takes with it not counted."""
TURN = 50
"""Lines that are checked in one turn of the loop: about 2 ms."""
IN_FLIGHT = 8
"""Groups that are being made durable while the next are checked; more would only hold memory."""
TOGETHER = 64
"""Submits under way within a group: each named task is one of its own, and each waits for the same disk."""
PASSING = frozenset({429, 503, 507})
"""Refusals of the mesh as a whole, not of a task: they answer the request, which can be sent again."""


class Batch:
    """One request's lines: what became of each."""

    def __init__(
        self, service: Service, checker: SpecChecker, key: str, *, durability: int | None, force: bool
    ) -> None:
        self._service = service
        self._checker = checker
        self._key = key
        self._durability = durability
        self._force = force
        self._ids: list[str | None] = []
        self._rejected: list[RejectedLine] = []
        self._achieved: list[int] = []
        self._refused: Refused | None = None
        self._pending: set[asyncio.Task[None]] = set()

    async def add(self, lines: list[bytes]) -> None:
        """Check one group and hand it over; waits only when too many groups are under way."""
        start = len(self._ids)
        self._ids.extend([None] * len(lines))
        checked: list[tuple[int, Checked]] = []
        for index, line in enumerate(lines, start):
            if index % TURN == 0:
                await asyncio.sleep(0)  # others have a turn, however fast the body comes
            if line.strip():
                try:
                    checked.append((index, self._checker.check_line(line)))
                except InvalidSpec as error:
                    self._reject(index, _invalid(error))
                    await asyncio.sleep(0)  # a wrong line may take as long as TURN good ones
        for part, specs in split_group(checked):
            key = f"{self._key}/{start // GROUP}{part}"
            self._pending.add(asyncio.create_task(self._submit(specs, key)))
            while len(self._pending) >= TOGETHER:
                await self._settle(asyncio.FIRST_COMPLETED)
        while len(self._pending) > IN_FLIGHT:
            await self._settle(asyncio.FIRST_COMPLETED)

    async def answer(self) -> BatchAnswer:
        """What became of all lines. Raises the mesh's refusal where it took not all groups."""
        while self._pending:
            await self._settle(asyncio.ALL_COMPLETED)
        accepted = sum(1 for task in self._ids if task is not None)
        if self._refused is not None:
            told = msgspec.structs.replace(self._refused.problem, state_changed=accepted > 0)
            raise Refused(told, retry_after=self._refused.retry_after)
        return BatchAnswer(
            accepted=accepted,
            ids=self._ids,
            rejected=sorted(self._rejected, key=lambda rejected: rejected.line),
            durability=min(self._achieved, default=0),
        )

    async def abandon(self) -> None:
        """Let what is under way end; its tasks stay, and the same request again finds them."""
        await asyncio.gather(*self._pending, return_exceptions=True)

    async def _settle(self, when: str) -> None:
        done, self._pending = await asyncio.wait(self._pending, return_when=when)
        for task in done:
            task.result()

    async def _submit(self, specs: list[tuple[int, Checked]], key: str) -> None:
        try:
            submitted = await self._service.submit(
                [spec.data for _, spec in specs],
                tenant=specs[0][1].tenant,
                key=key,
                durability=self._durability,
                force=self._force,
            )
        except Refused as refused:
            if refused.problem.status in PASSING:
                self._refused = refused
            else:
                for index, _ in specs:
                    self._reject(index, refused.problem)
            return
        self._achieved.append(submitted.durability)
        for (index, _), task in zip(specs, submitted.ids, strict=True):
            self._ids[index] = task

    def _reject(self, index: int, told: Problem) -> None:
        self._rejected.append(RejectedLine(line=index + 1, problem=told))


def split_group(checked: Iterable[tuple[int, Checked]]) -> list[tuple[str, list[tuple[int, Checked]]]]:
    """The submits of one group, each with a suffix for its key: one a tenant, and one for each named task."""
    parts: dict[str, list[tuple[int, Checked]]] = {}
    for index, spec in checked:
        part = "" if spec.name is None else f"/{index}"
        parts.setdefault(f"/{spec.tenant}{part}", []).append((index, spec))
    return list(parts.items())


def _invalid(error: InvalidSpec) -> Problem:
    detail = count_errors(error.items, "the task")
    return problem(422, "invalid", detail, errors=error.items, title="Invalid request")


async def create_batch(request: web.Request) -> web.Response:
    """200 with an id for each accepted line, and a problem for each refused one."""
    check_parameters(request, "durability", "force")
    if request.content_type != NDJSON:
        raise refuse(415, "media-type", f"a batch needs Content-Type: {NDJSON}")
    context, key = request.app[CONTEXT], idempotency_key(request)
    batch = Batch(
        service_of(request),
        SpecChecker(context.registry, context.service.facts()),
        key,
        durability=parameter_int(request, "durability", low=1, high=2),
        force=parameter_flag(request, "force"),
    )
    try:
        async with contextlib.aclosing(read_groups(request)) as groups:
            async for lines in groups:
                await batch.add(lines)
        answer = await batch.answer()
    finally:
        await batch.abandon()
    return json_answer(answer, headers={"Idempotency-Key": key})


async def read_groups(request: web.Request) -> AsyncGenerator[list[bytes], None]:
    """The body's lines in groups of GROUP, as they arrive; the last one may be smaller."""
    lines: list[bytes] = []
    rest, size, count = b"", 0, 0
    now, left = asyncio.get_running_loop().time, BATCH_TIMEOUT
    with request.app[CROWD].body() as held:
        while True:
            since = now()
            if not (chunk := await _next_chunk(request, left)):
                break
            left -= now() - since
            size += len(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            count += len(whole)
            _check_size(size, count, rest)
            held.grow(size)
            lines += whole
            while len(lines) >= GROUP:
                yield lines[:GROUP]
                del lines[:GROUP]
        if rest:
            lines.append(rest)
        if lines:
            yield lines


async def _next_chunk(request: web.Request, left: float) -> bytes:
    """b"" at the end of the body. `left`: seconds that the sender still has."""
    wait = max(0.0, min(BODY_TIMEOUT, left))
    try:
        async with asyncio.timeout(wait):
            return await request.content.readany()
    except TimeoutError:
        late = (
            f"nothing within {wait:.3g} s" if wait < left else f"not all of it within {BATCH_TIMEOUT:.3g} s"
        )
        raise refuse(408, "slow-body", f"the body arrives too slowly: {late}") from None


def _check_size(size: int, count: int, rest: bytes) -> None:
    if size > MAX_BATCH or count > MAX_LINES:
        raise refuse(
            413,
            "too-large",
            f"a batch is at most {MAX_BATCH} bytes and {MAX_LINES} lines; send more requests",
        )
    if len(rest) > MAX_LINE:
        raise refuse(413, "too-large", f"a line is at most {MAX_LINE} bytes")


ROUTES = (
    Route(
        method="POST",
        path="/v1/tasks/batch",
        handler=create_batch,
        name="create_tasks",
        about="Create many tasks, one JSON object a line; a wrong line does not keep back the others.",
        tag="tasks",
        parameters=(
            DURABILITY,
            Parameter("force", "Collect ranges again where they are covered.", bool),
            KEY,
        ),
        body=str,
        media=(NDJSON,),
        answers={200: BatchAnswer},
        problems=(503, 507),
    ),
)
