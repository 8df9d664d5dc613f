"""JSON REST APIs: pages of records by number, offset, cursor or Link header; full, incremental and by range.

A run is one shard, of a range one for each part of it: pages follow each other. A page is a batch, and a
position names the page to ask for next, so a shard goes on with the very page where it stopped. The budget is
spent per request. What the server is asked for (`since_param`, `from_param`, `to_param`) only saves pages:
records outside are dropped here as well.

Position: the state of the page, at the end `{"done": true}`.
"""

import base64
import contextlib
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from yarl import URL

from plugins.api import (
    Batch,
    CollectContext,
    CollectRequest,
    Permanent,
    PluginContext,
    Position,
    Range,
    Record,
    Rejected,
    Retryable,
    ShardPlan,
)
from plugins.collectors.files import range_slices
from plugins.collectors.http_paging import Paging, State, Turned, dig, following, fresh, query
from plugins.collectors.lines import BOM
from plugins.http_fetch import Answer, Request, excerpt, fetch
from plugins.options import InvalidOption, MaybeSecret, Secret
from plugins.ordering import after, plain, predicate

MAX_PAGES = 1_000_000
"""of one attempt; a source with more is one that never ends"""

SAME = 10
"""pages of one record that are the same; fewer may be records that are"""

NO_CONTENT = 204
"""the status of an answer that may be empty"""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
"""of a header, by RFC 9110"""

Keep = Callable[[Any], bool]
Chosen = tuple[dict[str, str], str, Keep | None]
"""Query parameters, the field that chooses records, and the test of its value."""

DONE: State = {"done": True}


class Auth(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`bearer` needs `token`; `basic` needs `user` and `password`. Credentials are `{secret = NAME}`."""

    type: Literal["bearer", "basic"]
    token: Secret | None = None
    user: MaybeSecret = ""
    password: Secret | None = None

    def __post_init__(self) -> None:
        if self.type == "bearer" and self.token is None:
            raise InvalidOption("token", "is missing", remedy="token = {secret = NAME}")
        if self.type == "basic" and self.password is None:
            raise InvalidOption("password", "is missing", remedy="password = {secret = NAME}")

    def header(self) -> str:
        if self.type == "bearer":
            return f"Bearer {self.token}"
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class HttpOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`url`: http or https. `records`: where the answer holds the list ("data.items"; "": it is the list).

    `since_param`, `from_param`, `to_param`: query parameters for the bound of an incremental run and the
    ends of a range. `timeout`: seconds for one request. `max_bytes`: of one answer, decompressed; larger
    pages fail.
    """

    url: str
    method: Literal["GET", "POST"] = "GET"
    params: dict[str, MaybeSecret] = {}
    headers: dict[str, MaybeSecret] = {}
    body: dict[str, Any] | None = None
    auth: Auth | None = None
    records: str = ""
    pagination: Paging = msgspec.field(default_factory=Paging)
    since_param: str | None = None
    from_param: str | None = None
    to_param: str | None = None
    stream: str = ""
    timeout: float = 30.0
    max_bytes: int = 32 << 20

    def __post_init__(self) -> None:
        try:
            url = URL(self.url)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidOption("url", "is not a web address", allowed="http://… or https://…")
        if url.user is not None or url.password is not None:
            raise InvalidOption("url", "holds a user or password", remedy='use auth = {type = "basic", …}')
        if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in self.headers.items()):
            allowed = "names of letters, digits and -; values without line ends and control characters"
            raise InvalidOption("headers", "cannot be sent", allowed=allowed)
        if self.timeout <= 0:
            raise InvalidOption("timeout", "is not positive", allowed="seconds, more than 0")
        if self.max_bytes <= 0:
            raise InvalidOption("max_bytes", "is not positive", allowed="bytes, more than 0")


class HttpCollector:
    """Records of a JSON REST API, page by page; full, incremental and range."""

    Options = HttpOptions
    modes = frozenset({"full", "incremental", "range"})
    sharded = False
    inline = True
    budgeted = True

    async def initialize(self, context: PluginContext) -> None:
        self._context = context
        self._options: HttpOptions = context.options
        self._url = URL(self._options.url)
        self._headers = {"Accept": "application/json", **self._options.headers}
        if self._options.auth is not None:
            self._headers["Authorization"] = self._options.auth.header()

    async def plan(self, request: CollectRequest) -> Sequence[ShardPlan]:
        """One shard; of a range one for each part, so that what is covered is recorded."""
        if request.range is None:
            return [ShardPlan(key="0", affinity=self._url.host)]
        return [
            ShardPlan(key=f"{index:04d}", affinity=self._url.host, covers=part)
            for index, part in enumerate(_parts(request, request.range))
        ]

    async def collect(self, context: CollectContext) -> AsyncIterator[Batch]:
        position: Position = context.resume
        if position is not None and position.get("done"):
            return
        async with contextlib.aclosing(self._pages(_chosen(context, self._options), position or {})) as pages:
            async for batch in pages:
                batch.start, position = position, batch.end
                yield batch

    async def shutdown(self) -> None:
        """The session is the host's."""

    async def _pages(self, chosen: Chosen, state: State | None) -> AsyncGenerator[Batch, None]:
        """The pages from `state` on; their `start` is for the caller to set."""
        params, field, keep = chosen
        guard = _Guard()
        guard.enter(state or {})
        while state is not None:
            answer = await self._page(state, params)
            if answer is None:
                yield Batch(self._options.stream, [], None, DONE)
                return
            document = self._decode(answer)
            items = self._items(document)
            guard.check(state, answer, len(items))
            turned = Turned(len(items), document, answer.links, answer.url)
            items = items[fresh(state)]
            own = {**self._options.params, **params}
            state = following(self._options.pagination, state, turned, own)
            if state is not None:
                guard.enter(state)
            kept, rejected = _sorted_out(items, field, keep)
            end = DONE if state is None else state
            yield Batch(self._options.stream, kept, None, end, len(answer.body), rejected)

    async def _page(self, state: State, params: Mapping[str, str]) -> Answer | None:
        """The answer; None where a page that is missing is the end."""
        try:
            return await self._ask(state, params)
        except Permanent as error:
            if error.code != "http-404" or not ("page" in state or "offset" in state):
                raise
            if self._options.pagination.stop == "missing":
                return None
            raise Permanent(
                f'{error}; if the server says so of pages past the last one, set pagination.stop = "missing"',
                code=error.code,
            ) from None

    async def _ask(self, state: State, params: Mapping[str, str]) -> Answer:
        """One request, after its turn."""
        options, context = self._options, self._context
        if context.http is None:
            raise Permanent("this host offers no HTTP", code="network")
        await context.budget.take(1)
        url = URL(state["url"]) if "url" in state else self._url
        own = {**options.params, **params, **query(options.pagination, state)}
        missing = {key: value for key, value in own.items() if "url" not in state or key not in url.query}
        request = Request(
            method=options.method,
            url=url.update_query(missing),
            headers=self._headers,
            json=options.body,
            timeout=options.timeout,
            max_bytes=options.max_bytes,
        )
        answer = await fetch(context.http(), request, context.clock)
        context.metrics.count("requests")
        return answer

    def _decode(self, answer: Answer) -> Any:
        if not answer.body.strip():
            if answer.status == NO_CONTENT:
                return None
            # what a proxy says of a server that died; taken for an empty page, it would end the run short of the rest
            raise Retryable(f"{self._shown}: {answer.status} with nothing in it", code="empty-answer")
        try:
            return msgspec.json.decode(answer.body.removeprefix(BOM))
        except (msgspec.DecodeError, RecursionError) as error:
            raise Permanent(
                f"{self._shown}: the answer is not JSON ({error}; content type {answer.content_type}): "
                f"{excerpt(answer.body)}",
                code="not-json",
            ) from None

    def _items(self, document: Any) -> list[Any]:
        found = dig(document, self._options.records)
        if found is None and (document is None or _leads_to_null(document, self._options.records)):
            return []
        if isinstance(found, list):
            return found
        inside = (
            f"it has {', '.join(sorted(document))[:200]}" if isinstance(document, dict) else "it is no object"
        )
        raise Permanent(
            f"{self._shown}: the answer holds no list at records = {self._options.records!r} ({inside}); "
            f'name the path of the list, such as "data.items"',
            code="records",
        )

    @property
    def _shown(self) -> str:
        return f"{self._options.method} {self._url.with_query(None)}"


class _Guard:
    """Notices a server that never comes to an end."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._body = b""
        self._same = 0

    def enter(self, state: State) -> None:
        """Before a page is asked for; raises Permanent if it was read before."""
        key = _digest(msgspec.json.encode(state))
        if key in self._seen:
            raise Permanent(f"the pages go in a circle: {state} comes again", code="paging")
        if len(self._seen) >= MAX_PAGES:
            raise Permanent(f"more than {MAX_PAGES} pages", code="paging")
        self._seen.add(key)

    def check(self, state: State, answer: Answer, records: int) -> None:
        """Raises Permanent if this page is the one before it once more."""
        body = _digest(answer.body)
        self._same = self._same + 1 if body == self._body else 0
        if self._same and (records > 1 or self._same * records >= SAME):
            raise Permanent(
                f"page {state} is the same as the one before; does the server know the parameter?",
                code="paging",
            )
        self._body = body


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _parts(request: CollectRequest, wanted: Range) -> list[tuple[Any, Any]]:
    """The gaps, cut by the step; without one as they were written, since an API may know no other spelling."""
    if wanted.step is not None:
        return range_slices(request)
    return list(request.ranges or [(wanted.from_, wanted.to)])


def _chosen(context: CollectContext, options: HttpOptions) -> Chosen:
    """What to ask for and what to keep."""
    request = context.request
    if request.since is not None:
        since = request.since
        keep = after(since.value, inclusive=since.inclusive)
        return _named((options.since_param, plain(since.value))), since.field, keep
    if request.range is not None:
        low, high = context.shard.covers or (request.range.from_, request.range.to)
        params = _named((options.from_param, low), (options.to_param, high))
        return params, request.range.field, predicate(low, high)
    return {}, "", None


def _named(*pairs: tuple[str | None, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in pairs if key and value is not None}


def _sorted_out(items: list[Any], field: str, keep: Keep | None) -> tuple[list[Record], list[Rejected]]:
    """The records that were asked for, and what is no record."""
    records = [item for item in items if isinstance(item, dict)]
    rejected = [
        Rejected(item, "is not an object", "not-an-object") for item in items if not isinstance(item, dict)
    ]
    if keep is not None:
        records = [record for record in records if keep(record.get(field))]
    return records, rejected


def _leads_to_null(document: Any, path: str) -> bool:
    """Whether the path exists and holds null, which many APIs write for an empty list."""
    parent, _, key = path.rpartition(".")
    holder = dig(document, parent)
    return isinstance(holder, dict) and key in holder
