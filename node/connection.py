"""Requests to whichever node answers: the part of the client that knows nodes and forgets none.

It knows several nodes: those it was given, and those it learnt from /v1/cluster. When one cannot be reached,
or says that it cannot answer now, the next is asked. A change carries one Idempotency-Key over all attempts,
so it happens once, whichever node answers.
"""

import asyncio
import io
import ssl
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from yarl import URL

from node.api.hosts import is_loopback
from node.api.shapes import Event
from node.schema import Cluster, Node, Problem
from node.sse import read_frames

T = TypeVar("T")
Filter = Mapping[str, str | int | Sequence[str] | None]
"""Query parameters: None is left out, a sequence is joined with commas."""

CONNECT_TIMEOUT = 3.0
"""Seconds; a host that is off does not answer at all."""
TIMEOUT = 20.0
"""Seconds for a whole answer; a submit may wait for a second disk, a listing for every node."""
SILENCE = 40.0
"""Seconds without an event or heartbeat (every 15 s) after which a stream is taken for dead."""
LONG_SILENCE = 130.0
"""Seconds without a line of a long answer: a node that does not answer its own node in 60 s is named in one."""
ROUNDS = 3
"""How often all known nodes are tried before a request is given up."""
PAUSE = 0.2
"""Seconds between two rounds, doubled each time."""
NEXT_NODE = frozenset({502, 503, 504, 507})
"""Answers after which another node may do better."""
FULL = 507
"""A full disk: no time that a client waits helps, but another node's disk may."""
GONE = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    aiohttp.ClientResponseError,
    TimeoutError,
)
"""What says that a node does not answer (any more)."""
NDJSON = "application/x-ndjson"


class ProblemError(Exception):
    """The mesh refused; `problem` says why, `retry_after` (seconds) when it may go better."""

    def __init__(self, problem: Problem, *, retry_after: float | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.retry_after = retry_after


class Unreachable(Exception):
    """None of the known nodes answered; `urls` are those tried, the message has the last reason."""

    def __init__(self, urls: Sequence[str], reason: str) -> None:
        super().__init__(f"no node answers at {', '.join(urls)}: {reason}")
        self.urls = list(urls)


class Parts(TypedDict, total=False):
    """What a request may carry. `key`: its Idempotency-Key; one is made for a change that has none."""

    query: Filter
    body: bytes
    media: str
    key: str | None
    if_match: int | None


class Connection:
    """Requests to whichever known node answers."""

    def __init__(
        self,
        urls: Sequence[str],
        token: str | None = None,
        *,
        timeout: float = TIMEOUT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not urls:
            raise ValueError("a client needs the address of at least one node")
        self._urls = [(url if "://" in url else f"http://{url}").rstrip("/") for url in urls]
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(CONNECT_TIMEOUT, timeout))
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self.answered_by: str | None = None
        """The id of the node that answered last."""

    @property
    def urls(self) -> list[str]:
        """The known nodes; the one that is asked first stands first."""
        return list(self._urls)

    @property
    def url(self) -> str:
        """The node that is asked first: the one that answered last."""
        return self._urls[0]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _note(self, cluster: Cluster) -> None:
        """Know the living nodes of this answer as well, after those known already."""
        near = urlsplit(self._urls[0])
        for node in cluster.nodes:
            url = _url_of(node, near.scheme, local=is_loopback(near.hostname or ""))
            if url and url not in self._urls:
                self._urls.append(url)

    async def request(self, method: str, path: str, shape: type[T], **parts: Unpack[Parts]) -> T:
        """The answer of the first node that gives one. Raises ProblemError, Unreachable."""
        headers = {**self._headers}
        if method != "GET":
            headers["Idempotency-Key"] = parts.get("key") or uuid.uuid4().hex
            headers["Content-Type"] = parts.get("media", "application/json")
        revision = parts.get("if_match")
        if revision is not None:
            headers["If-Match"] = f'"{revision}"'
        body = await self._ask(method, path + _query(parts.get("query", {})), headers, parts.get("body"))
        return decode_answer(body, shape)

    async def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> bytes:
        failure: ProblemError | None = None
        reason = ""
        for turn in range(ROUNDS):
            if turn:
                await asyncio.sleep(PAUSE * 2 ** (turn - 1))
            for url in self.urls:
                try:
                    answer = await self._send(method, url + path, headers, body)
                except GONE as error:
                    reason = _reason(error)
                except ProblemError as error:
                    if error.problem.status not in NEXT_NODE:
                        self._prefer(url)
                        raise
                    failure = error
                else:
                    self._prefer(url)
                    return answer
            if failure is not None and failure.problem.status == FULL:
                break
        raise failure or Unreachable(self._urls, reason)

    async def _send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> bytes:
        # As a file, the body is sent in pieces; large raw bytes would hold up the loop.
        data = None if body is None else io.BytesIO(body)
        async with self._open().request(
            method,
            URL(url, encoded=True),
            headers=headers,
            data=data,
            timeout=self._timeout,
            allow_redirects=False,
        ) as response:
            content = await response.read()
            self.answered_by = response.headers.get("X-Collect-Node")
            if response.status >= 300:
                raise _problem(response, content)
            return content

    async def download(self, path: str, file: Path, *, query: Filter) -> None:
        """The answer as a file; through another node, from the beginning, where one fails on the way."""
        reason = ""
        for url in self.urls:
            try:
                await self._download(URL(url + path + _query(query), encoded=True), file)
            except GONE as error:
                reason = _reason(error)
            else:
                self._prefer(url)
                return
        raise Unreachable(self._urls, reason)

    async def _download(self, url: URL, file: Path) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE)
        async with self._open().get(url, headers=self._headers, timeout=timeout) as response:
            if response.status != 200:
                raise _problem(response, await response.read())
            with file.open("wb") as target:
                async for chunk in response.content.iter_any():
                    target.write(chunk)

    async def lines(self, method: str, path: str, shape: type[T], *, query: Filter) -> AsyncIterator[T]:
        """The lines of a long answer as they come, from the first node that gives one; not repeated elsewhere."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=LONG_SILENCE)
        headers = {**self._headers, "Content-Type": "application/json", "Accept": NDJSON}
        reason = ""
        for url in self.urls:
            begun = False
            try:
                async with self._open().request(
                    method, URL(url + path + _query(query), encoded=True), headers=headers, timeout=timeout
                ) as response:
                    if response.status != 200:
                        raise _problem(response, await response.read())
                    self._prefer(url)
                    begun = True
                    async for line in response.content:
                        yield decode_answer(line, shape)
                    return
            except GONE as error:
                reason = _reason(error)
                if begun:
                    break
        raise Unreachable(self._urls, reason)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    def _prefer(self, url: str) -> None:
        """Ask this one first from now on; those before it did not answer."""
        if self._urls[0] != url:
            self._urls.remove(url)
            self._urls.insert(0, url)

    def _demote(self, url: str) -> None:
        self._urls.remove(url)
        self._urls.append(url)

    async def events(self, *, task: str | None = None, after: str | None = None) -> AsyncIterator[Event]:
        """What happens in the mesh from now on (or after the event `after`), for ever, from whichever node lives.

        Kind "reset": events may have been missed; read again what you show. Raises ProblemError, and
        Unreachable when no node has answered for several rounds.
        """
        failures, broken = 0, False
        while True:
            url = self._urls[0]
            try:
                async for event in self._stream(url, task, after):
                    failures = 0
                    if broken and after is None:
                        yield Event(id="", kind="reset", data={"reason": "the stream was interrupted"})
                    broken = False
                    if event is not None:
                        after = event.id or after
                        yield event
                reason = "the node ended the stream"
            except GONE as error:
                reason = _reason(error)
            except ProblemError as error:
                if error.problem.status not in NEXT_NODE:
                    raise
                reason = str(error)
            failures, broken = failures + 1, True
            self._demote(url)
            if failures >= ROUNDS * len(self._urls):
                raise Unreachable(self._urls, reason)
            await asyncio.sleep(PAUSE)

    async def _stream(self, url: str, task: str | None, after: str | None) -> AsyncIterator[Event | None]:
        headers = {**self._headers, "Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = after
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE)
        address = URL(url + "/v1/events" + _query({"scope": "cluster", "task": task}), encoded=True)
        async with self._open().get(address, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                raise _problem(response, await response.read())
            self.answered_by = response.headers.get("X-Collect-Node")
            async for frame in read_frames(response.content.iter_any()):
                yield (
                    None
                    if frame is None
                    else Event(id=frame.id, kind=frame.kind, data=decode_answer(frame.data, dict[str, Any]))
                )


def decode_answer(body: bytes, shape: type[T]) -> T:
    """The answer as `shape`; if not, ProblemError: what answers is no node."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(_foreign(200, f"the answer is not what a node sends: {error}")) from None


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{error}; SSL_CERT_FILE names the certificates (PEM) to trust"
    if isinstance(
        error, aiohttp.ClientResponseError
    ):  # aiohttp's words are a hundred bytes of what came instead
        return "what listens there does not speak HTTP; the mesh ports of a node do not"
    return str(error) or type(error).__name__


def _problem(response: aiohttp.ClientResponse, content: bytes) -> ProblemError:
    try:
        problem = msgspec.json.decode(content, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _foreign(
            response.status,
            f"{response.url.origin()} answered {response.status} {response.reason}, not as a collect-node does",
        )
    after = response.headers.get("Retry-After", "")
    return ProblemError(problem, retry_after=float(after) if after.isdigit() else None)


def _foreign(status: int, detail: str) -> Problem:
    return Problem(type="about:blank", title="Unexpected answer", status=status, detail=detail)


def _query(given: Filter) -> str:
    pairs = [(name, _word(value)) for name, value in given.items() if value is not None]
    return "?" + urlencode(pairs) if pairs else ""


def _word(value: str | int | Sequence[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else ",".join(value)


def _url_of(node: Node, scheme: str, *, local: bool) -> str | None:
    """Where this node's API is, as seen from here. `local`: we speak over loopback; its loopback is ours."""
    address = node.addresses.get("http")
    if not address or node.state != "alive":
        return None
    url = address if "://" in address else f"{scheme}://{address}"
    host = urlsplit(url).hostname or ""
    if host in {"", "0.0.0.0", "::"} or (is_loopback(host) and not local):  # noqa: S104 -- not bound, refused
        return None
    return url.rstrip("/")
