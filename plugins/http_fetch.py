"""One HTTP exchange as a collector wants it: a whole body within a size, redirects checked, errors told
apart.

429 and 5xx (and 408, 425, and any refusal that carries Retry-After) may pass: Retryable. Other refusals
will not: Permanent. Messages name method, host and path; a query may hold credentials and is left out.
"""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import msgspec
from yarl import URL

from plugins.api import CollectError, Permanent, Retryable
from plugins.http import MAX_REDIRECTS

if TYPE_CHECKING:
    import aiohttp

LONGEST_WAIT = 86_400.0
"""seconds; a Retry-After beyond a day is taken for a day"""

EXCERPT = 200
"""characters of a body that an error shows"""

_LINK = re.compile(r'<([^>]*)>((?:[^,<"]|"(?:[^"\\]|\\.)*")*)')
_PARAMETER = re.compile(r';\s*([^\s=;,"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')
"""of a Link header, by RFC 8288"""

_PASSING = frozenset({408, 425, 429})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """`headers` are sent to the URL's own origin only. `timeout`: seconds for the whole exchange. `json`:
    the body.
    """

    method: str
    url: URL
    headers: Mapping[str, str]
    json: Any
    timeout: float
    max_bytes: int


class Answer(msgspec.Struct, frozen=True):
    """`url`: where the answer came from, after redirects. `links`: rel -> absolute URL, of the Link
    header.
    """

    url: URL
    body: bytes
    links: Mapping[str, URL]
    content_type: str
    status: int


async def fetch(session: "aiohttp.ClientSession", request: Request, clock: Callable[[], float]) -> Answer:
    """Raises Permanent and Retryable only (and what cancels it). `clock`: seconds since the epoch, for
    Retry-After.
    """
    import aiohttp

    try:
        return await _follow(session, request, clock)
    except CollectError:
        raise
    except TimeoutError:
        raise Retryable(f"{name(request)}: no answer within {request.timeout:g} s", code="timeout") from None
    except aiohttp.InvalidURL as error:
        raise Permanent(f"{name(request)}: {error} is not a URL; mend the url", code="url") from None
    except aiohttp.ClientSSLError as error:
        raise Retryable(f"{name(request)}: TLS failed: {error}", code="tls") from None
    except (aiohttp.ClientError, OSError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise Retryable(f"{name(request)}: {text}", code="connection") from None


def name(request: Request) -> str:
    url = request.url
    return f"{request.method} {url.scheme}://{url.authority.rpartition('@')[2]}{url.path}"


def excerpt(body: bytes) -> str:
    """The beginning of a body on one line, for people."""
    return " ".join(body[: 4 * EXCERPT].decode("utf-8", "replace").split())[:EXCERPT]


async def _follow(session: "aiohttp.ClientSession", request: Request, clock: Callable[[], float]) -> Answer:
    for _ in range(MAX_REDIRECTS + 1):
        answer = await _once(session, request, clock)
        if isinstance(answer, Answer):
            return answer
        request = _redirected(request, answer)
    raise Permanent(
        f"{name(request)}: more than {MAX_REDIRECTS} redirects; use the final url", code="redirects"
    )


async def _once(
    session: "aiohttp.ClientSession", request: Request, clock: Callable[[], float]
) -> Answer | tuple[int, URL]:
    """The answer, or (status, target) of a redirect."""
    import aiohttp

    async with session.request(
        request.method,
        request.url,
        headers=request.headers,
        json=request.json,
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(total=request.timeout),
    ) as response:
        location = response.headers.get("Location")
        if response.status in _REDIRECTS and location is not None:
            return response.status, request.url.join(URL(location))
        body = await _body(response, request)
        if response.status >= 300:
            raise _refused(request, response, body, clock)
        found = links(response.headers.getall("Link", ()), response.url)
        return Answer(response.url, body, found, response.content_type, response.status)


def links(headers: Sequence[str], base: URL) -> dict[str, URL]:
    """rel -> absolute URL; a link of several relations ("next last") has each. Of two for one rel the first counts, and
    what is no URL does not.
    """
    found: dict[str, URL] = {}
    for target, parameters in _LINK.findall(",".join(headers)):
        named = {
            name.lower(): quoted or plain for name, quoted, plain in reversed(_PARAMETER.findall(parameters))
        }
        for rel in named.get("rel", "").lower().split():
            with contextlib.suppress(ValueError):
                found.setdefault(rel, base.join(URL(target)))
    return found


async def _body(response: "aiohttp.ClientResponse", request: Request) -> bytes:
    """Read as it comes (and is decompressed), so that too much is noticed before it is held."""
    parts = bytearray()
    async for part in response.content.iter_chunked(1 << 16):
        parts += part
        if len(parts) > request.max_bytes:
            raise Permanent(
                f"{name(request)}: the answer is larger than {request.max_bytes} bytes; "
                f"ask for smaller pages, or raise max_bytes",
                code="page-size",
            )
    return bytes(parts)


def _redirected(request: Request, answer: tuple[int, URL]) -> Request:
    status, target = answer
    shown = (
        f"{name(request)}: redirect to {target.scheme}://{target.authority.rpartition('@')[2]}{target.path}"
    )
    if target.scheme not in ("http", "https") or (request.url.scheme, target.scheme) == ("https", "http"):
        raise Permanent(f"{shown} is refused (scheme); use the final url", code="redirects")
    if request.method != "GET" and status not in (307, 308):
        raise Permanent(f"{shown} would turn {request.method} into GET; use the final url", code="redirects")
    headers = request.headers if same_origin(request.url, target) else {}
    return msgspec.structs.replace(request, url=target, headers=headers)


def same_origin(one: URL, other: URL) -> bool:
    """Whether credentials for one may be sent to the other: the same host and port, or the same host
    upgraded to TLS.
    """
    if one.host != other.host:
        return False
    upgraded = (one.scheme, other.scheme) == ("http", "https") and one.is_default_port()
    return one.origin() == other.origin() or (upgraded and other.is_default_port())


def _refused(
    request: Request, response: "aiohttp.ClientResponse", body: bytes, clock: Callable[[], float]
) -> CollectError:
    shown = excerpt(body)
    message = f"{name(request)}: {response.status} {response.reason or ''}".rstrip() + (
        f": {shown}" if shown else ""
    )
    after = retry_after(response.headers.get("Retry-After"), clock())
    if response.status in _PASSING or response.status >= 500 or after is not None:
        return Retryable(message, after=after, code=f"http-{response.status}")
    return Permanent(message, code=f"http-{response.status}")


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110: seconds, or a date); None if it is absent or
    nonsense.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, moment.timestamp() - now), LONGEST_WAIT)
