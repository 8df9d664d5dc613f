"""How values of a source's field compare: one order for range bounds, cursors and coverage.

Three domains: instants, numbers, strings. A value's domain is read off the value: `2013-01-31`,
`2013-01-31T10:00:00+02:00` (any offset, `+0200` and `+02` too, as databases write them; none means UTC) are
instants, `9`, `"9"`, `".5"` and `"1.5e3"` numbers, with spaces around them too; other text strings. Null, "",
booleans, lists and objects are in no domain. So CSV text compares as what it means: `"9" < "10"`,
`"10:00+02:00" < "09:00Z"` on one day.

All values have one total order (strings, then numbers, then instants), so that a cursor never stops on a
missing-value mark: `"NA"` is below every number and every instant. A range takes only values of its bounds'
own domain; what is not (NA, "") is outside every range. Where the bounds or the cursor are text, all text is.
"""

import itertools
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Key = tuple[int, Any]
"""`(domain, comparable)`: what two values are compared by."""

STRING, NUMBER, INSTANT = range(3)
DOMAINS = ("text", "number", "instant")

MAX_STEPS = 10_000
MAX_NUMBER = 300
"""Characters; longer digits are text, for Python refuses to read them (4300) and a float cannot hold them."""
MEMO = 1 << 16
"""Distinct values remembered by a predicate: hourly instants of seven years; more would cost memory only."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?P<fraction>\.\d{1,9})?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_NUMBER = re.compile(
    r"[+-]?(?:\d+(?P<real>(?:\.\d*)?(?:[eE][+-]?\d{1,3})?)|(?P<bare>\.\d+(?:[eE][+-]?\d{1,3})?))", re.ASCII
)
_STEP = re.compile(r"(\d+(?:\.\d+)?)?\s*([A-Za-z]+)", re.ASCII)

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_CALENDAR = {
    "day": "day",
    "week": "week",
    "month": "month",
    "mo": "month",
    "quarter": "quarter",
    "year": "year",
    "y": "year",
}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_DAYS = {"day": 1, "week": 7}


def parse(value: Any) -> Key | None:
    """The value's place in the order; None: in no domain. Instants count nanoseconds since the epoch."""
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return (NUMBER, value)
    if isinstance(value, float):
        return (NUMBER, value) if value - value == 0 else None
    if isinstance(value, dict) and value.keys() == {"text"} and isinstance(value["text"], str):
        return (
            STRING,
            value["text"],
        )  # a cursor's spelling of text that looks like something else; no record's
    return None


def _parse_text(text: str) -> Key | None:
    if not text:
        return None
    bare = text.strip(" ")
    if bare and (bare[0].isdigit() or bare[0] in "+-."):
        if match := _INSTANT.fullmatch(bare):
            nanoseconds = _nanoseconds(bare, match["fraction"])
            if nanoseconds is not None:
                return (INSTANT, nanoseconds)
        elif len(bare) <= MAX_NUMBER and (match := _NUMBER.fullmatch(bare)):
            number = float(bare) if match["real"] or match["bare"] else int(bare)
            if not isinstance(number, float) or math.isfinite(number):
                return (NUMBER, number)
    return (STRING, text)


def _nanoseconds(text: str, fraction: str | None) -> int | None:
    if fraction:
        text = text.replace(fraction, "", 1)
    try:
        moment = datetime.fromisoformat(text.upper())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        whole = (moment - EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    return whole * 10**9 + (int(fraction[1:].ljust(9, "0")) if fraction else 0)


_MARKS = frozenset(
    {
        "",
        "na",
        "n/a",
        "nan",
        "nat",
        "nil",
        "null",
        "none",
        "missing",
        "unknown",
        "undefined",
        "void",
        "not available",
    }
)


def is_mark(text: str) -> bool:
    """Whether a text stands for a value that is missing ("NA", "null", "-"). Names and words do not."""
    return text.strip(" -_.?#*<>()").lower() in _MARKS


def plain(cursor: Any) -> Any:
    """A cursor as the source wrote it."""
    return cursor["text"] if isinstance(cursor, dict) else cursor


def canonical(value: Any) -> Any:
    """The one spelling of a bound: instants as RFC 3339 in UTC, numbers as numbers, text as it is."""
    key = parse(value)
    return None if key is None else _spell(key)


def _spell(key: Key) -> Any:
    domain, value = key
    if domain == NUMBER and isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)  # read back as the number; the wire's integers end at 64 bits
    if domain != INSTANT:
        return value
    seconds, rest = divmod(value, 10**9)
    text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else f"{text}Z"


def bounds(from_: Any, to: Any) -> tuple[Key, Key]:
    """Both ends of a range. Raises ValueError, for people, if they have no common domain or are reversed."""
    low, high = parse(from_), parse(to)
    for name, value, key in (("from", from_, low), ("to", to, high)):
        if key is None:
            raise ValueError(f"{name} is {value!r}; a bound is an instant (RFC 3339), a number or text")
    assert low is not None
    assert high is not None
    if low[0] != high[0]:
        raise ValueError(
            f"from is {from_!r} ({DOMAINS[low[0]]}) and to is {to!r} ({DOMAINS[high[0]]}); "
            "both must be of one kind"
        )
    if low > high:
        raise ValueError(f"from is {from_!r}, after to, {to!r}; a range is [from, to)")
    return low, high


def between(value: Any, from_: Any, to: Any) -> bool:
    """Whether the value lies in `[from_, to)`."""
    return predicate(from_, to)(value)


def predicate(from_: Any, to: Any) -> Callable[[Any], bool]:
    """A test for `[from_, to)` that is fast on repeated values. Raises ValueError as `bounds` does."""
    low, high = bounds(from_, to)
    return _remembered(lambda key: low <= key < high, text=low[0] == STRING)


def after(value: Any, *, inclusive: bool = False) -> Callable[[Any], bool]:
    """A test for what an incremental run takes: the cursor's domain above it (or equal, where inclusive).

    `value` None takes everything, also what is in no domain.
    """
    if value is None:
        return lambda _: True
    low = parse(value)
    if low is None:
        raise ValueError(f"the cursor is {value!r}; it must be an instant, a number or text")
    domain = low[0]
    text = domain == STRING
    if text and is_mark(low[1]):  # all that there was: what comes later is what the field is about
        return _remembered(lambda key: key > low or (inclusive and key == low), text=False)
    if inclusive:
        return _remembered(lambda key: key[0] == domain and key >= low, text=text)
    return _remembered(lambda key: key[0] == domain and key > low, text=text)


def _remembered(test: Callable[[Key], bool], *, text: bool) -> Callable[[Any], bool]:
    """`text`: among texts, what looks like a number or an instant is text as well."""
    memo: dict[Any, bool] = {}

    def check(value: Any) -> bool:
        try:
            return memo[value]
        except KeyError:
            pass
        except TypeError:  # lists and objects: in no domain
            return False
        key = (STRING, value) if text and isinstance(value, str) and value else parse(value)
        known = key is not None and test(key)
        if isinstance(value, str):  # True == 1, so only text is safe as a key
            if len(memo) >= MEMO:
                memo.clear()
            memo[value] = known
        return known

    return check


def highest(first: Any, second: Any) -> Any:
    """The higher of two values in the total order; what is in no domain is below all. On a tie, the first."""
    low, high = parse(first), parse(second)
    if high is None:
        return first if low is not None else None
    return first if low is not None and low >= high else second


def steps(from_: Any, to: Any, step: str | float | None = None) -> list[tuple[Any, Any]]:
    """`[from_, to)` cut into half-open slices with canonical bounds; no step: one slice.

    `step`: for instants a duration ("2h", "1d"), counted from `from_`, or a calendar step ("day", "week",
    "month", "2mo", "quarter", "year"), cut at UTC calendar borders; for numbers a number. An empty range has
    no slices. Raises ValueError, for people.
    """
    low, high = bounds(from_, to)
    if low == high:
        return []
    if step is None:
        return [(_spell(low), _spell(high))]
    cuts = [low]
    following = _following(low, step)
    while (cut := following(cuts[-1], len(cuts))) < high:
        if cut <= cuts[-1]:
            raise ValueError(f"step {step!r} is too small to move on from {_spell(low)!r}")
        cuts.append(cut)
        if len(cuts) > MAX_STEPS:
            raise ValueError(
                f"step {step!r} cuts the range into more than {MAX_STEPS} slices; use a larger one"
            )
    ends = [_spell(cut) for cut in [*cuts, high]]
    return list(itertools.pairwise(ends))


def _following(low: Key, step: str | float) -> Callable[[Key, int], Key]:
    """Gives the cut after the one given, which is number `count` from the start."""
    domain, start = low
    if domain == NUMBER:
        size = parse(step)
        if size is None or size[0] != NUMBER or size[1] <= 0:
            raise ValueError(f"step {step!r} does not fit a range of numbers; give a number above 0")
        return lambda _, count: (NUMBER, start + count * size[1])
    if domain == STRING:
        raise ValueError(f"step {step!r} cannot cut a range of text; leave step out")
    match = _STEP.fullmatch(step.strip()) if isinstance(step, str) else None
    if match is None:
        raise ValueError(
            f'step {step!r} does not fit a range of instants; give one like "1d", "2h" or "month"'
        )
    amount, unit = match[1], match[2]
    if unit in _SECONDS and amount and float(amount) > 0:
        length = round(float(amount) * _SECONDS[unit] * 10**9)
        return lambda _, count: (INSTANT, start + count * length)
    calendar = _CALENDAR.get(unit) or _CALENDAR.get(unit.removesuffix("s"))
    if calendar is None or not (amount or "1").isdigit() or int(amount or 1) < 1:
        raise ValueError(
            f"step {step!r} is unknown; give a duration (ms s m h d w) or day, week, month, quarter, year"
        )
    many = int(amount or 1)
    return lambda cut, _: (INSTANT, _next_border(cut[1], calendar, many))


def _next_border(nanoseconds: int, unit: str, many: int) -> int:
    """The next UTC border: multiples of `many` months since year 0, of days since 1970-01-01, or Mondays."""
    days = nanoseconds // (86_400 * 10**9)
    if unit in _DAYS:
        size, shift = _DAYS[unit] * many, 3 if unit == "week" else 0  # 1970-01-01 was a Thursday
        return ((days + shift) // size * size + size - shift) * 86_400 * 10**9
    size = _MONTHS[unit] * many
    moment = EPOCH + timedelta(days=days)
    year, month = divmod((moment.year * 12 + moment.month - 1) // size * size + size, 12)
    if year > 9999:
        return 1 << 80
    return int((datetime(year, month + 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * 10**9


def minus(value: Any, amount: float) -> Any:
    """`value` moved back: an instant by `amount` seconds, a number by `amount`; text stays."""
    key = parse(value)
    if key is None or key[0] == STRING:
        return value
    return _spell((key[0], key[1] - (round(amount * 1e9) if key[0] == INSTANT else amount)))
