"""How the pages of a JSON API follow each other. Pure: a page's state and answer in, the next page's state
out.

A state is what a position holds of a page: `{}` (the first), `{"page": n}`, `{"offset": n}`, `{"cursor":
text}` or `{"url": text}`. It names the page that is to be asked for next, so a shard resumes with exactly
that page.

A source may grow between two requests. A numbered page that was not full looks like the last; when the next
one has records all the same, the page before it was filled up meanwhile, and is read again from where it
ended: `{"page": n + 1, "short": r}`, then `{"page": n, "seen": r}`. Where it has nothing more, pages of this
source are uneven (`"steady"`), and are believed from then on. `"full"`: the most records of a page so far.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from yarl import URL

from plugins.api import Permanent
from plugins.http_fetch import same_origin
from plugins.options import InvalidOption

State = dict[str, Any]


class Paging(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`type`: page (a number), offset (of the first record), cursor (a value in the answer), link (Link
    header).

    `param`: the query parameter of page, offset or cursor. A cursor without `param` is the URL of the next
    page. `next`: the path of the cursor in the answer ("meta.next"). `start`: the first page or offset.
    `size_param`, `size`: how many records a page is to hold. `stop`, of page and offset: "empty", at the
    first page without records (one request more), "short", at the first with fewer than
    `size` (wrong where the server caps `size`), or "missing", at the first that is not found (404) or empty.
    """

    type: Literal["none", "page", "offset", "cursor", "link"] = "none"
    param: str | None = None
    next: str | None = None
    size_param: str | None = None
    size: int | None = None
    start: int | None = None
    stop: Literal["empty", "short", "missing"] = "empty"

    def __post_init__(self) -> None:
        if self.type == "cursor" and not self.next:
            raise InvalidOption(
                "next", "is missing", remedy='say where the answer holds the cursor: "meta.next"'
            )
        if self.size is not None and self.size < 1:
            raise InvalidOption("size", "is not positive", allowed="1 or more")
        if self.stop == "short" and self.size is None:
            raise InvalidOption("stop", '"short" needs a size', remedy='set size, or stop = "empty"')
        if self.size_param and self.size is None:
            raise InvalidOption("size", "is missing", remedy="say what size_param is to be")

    @property
    def first_number(self) -> int:
        return self.start if self.start is not None else int(self.type == "page")


def query(paging: Paging, state: Mapping[str, Any]) -> dict[str, str]:
    """The query parameters of the page with this state; those of a URL state are in the URL."""
    asked: dict[str, str] = {}
    if paging.size_param and "url" not in state:
        asked[paging.size_param] = str(paging.size)
    if paging.type in ("page", "offset"):
        asked[paging.param or paging.type] = str(state.get(paging.type, paging.first_number))
    elif paging.param and "cursor" in state:
        asked[paging.param] = str(state["cursor"])
    return asked


class Turned(msgspec.Struct, frozen=True):
    """A page that has been read: its number of records, the answer's document, its Link header, where it
    came from.
    """

    records: int
    document: Any
    links: Mapping[str, URL]
    url: URL


def fresh(state: Mapping[str, Any]) -> slice:
    """Which of the records of the page with this state are to be taken now."""
    return slice(0, 0) if "short" in state else slice(state.get("seen", 0), None)


def following(
    paging: Paging, state: Mapping[str, Any], turned: Turned, own: Mapping[str, str]
) -> State | None:
    """The state of the next page; None: that was the last. `own`: the query parameters that each request
    adds by itself (perhaps secret), which no state may hold.

    Raises Permanent if the next page is somewhere that the credentials are not meant for.
    """
    match paging.type:
        case "page":
            return _numbered(paging, state, turned.records)
        case "offset":
            last = not turned.records or _short(paging, turned.records)
            return None if last else {"offset": state.get("offset", paging.first_number) + turned.records}
        case "cursor":
            cursor = dig(turned.document, paging.next or "")
            if cursor is None or cursor in ("", False):
                return None
            return {"cursor": cursor} if paging.param else _url(str(cursor), turned.url, own)
        case "link":
            link = turned.links.get("next")
            return None if link is None else _url(str(link), turned.url, own)
        case _:
            return None


def dig(document: Any, path: str) -> Any:
    """The value at a dotted path of object keys; "" is the document itself; None if there is none."""
    for key in path.split(".") if path else ():
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


def _short(paging: Paging, records: int) -> bool:
    """Whether so few records say that it is the last page."""
    return paging.stop == "short" and records < (paging.size or 0)


def _numbered(paging: Paging, state: Mapping[str, Any], records: int) -> State | None:
    """See the module."""
    if not records or _short(paging, records):
        return None
    at, full = state.get("page", paging.first_number), max(state.get("full", 0), paging.size or 0)
    if "short" in state:
        return {"page": at - 1, "seen": state["short"], "full": full}
    if state.get("steady") or records == state.get("seen"):
        return {"page": at + 1, "steady": True}
    if records < full:
        return {"page": at + 1, "short": records, "full": full}
    return {"page": at + 1, "full": records}


def _url(target: str, base: URL, own: Mapping[str, str]) -> State:
    try:
        url = base.join(URL(target))
    except ValueError:
        raise Permanent(f"the next page's address {target[:200]!r} is not a URL", code="paging") from None
    if not same_origin(base, url):
        raise Permanent(
            f"the next page is at another host ({url.host}), which the credentials are not for; "
            f"collect from that host in a task of its own",
            code="paging",
        )
    kept: Sequence[tuple[str, str]] = [
        (key, value) for key, value in url.query.items() if own.get(key) != value
    ]
    return {"url": str(url.with_query(kept))}
