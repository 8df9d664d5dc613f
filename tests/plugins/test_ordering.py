import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins import ordering
from plugins.high import High
from plugins.ordering import after, between, canonical, highest, parse, predicate, steps

INSTANTS = st.datetimes(
    min_value=dt.datetime(1900, 1, 2),  # noqa: DTZ001 -- hypothesis adds the zone
    max_value=dt.datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.timezones(),
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = NUMBERS | st.text(max_size=5) | INSTANTS.map(lambda at: at.isoformat()) | st.none() | st.booleans()


def test_text_compares_as_what_it_means() -> None:
    assert between("9", 5, 10)
    assert not between("10", 5, 10)
    assert between("9", "5", "10")
    assert between("2013-01-01T00:30:00+02:00", "2012-12-31", "2013-01-01")
    assert between("2013-01-01", "2013-01-01T00:00:00Z", "2013-01-01T00:00:01Z")
    assert between("abc", "abb", "abd")


@pytest.mark.parametrize("value", ["NA", "", None, True, [1], {"a": 1}, float("nan"), "2013-02-30"])
def test_what_does_not_parse_is_outside_every_range(value: object) -> None:
    assert not between(value, -(10**9), 10**9)
    assert not between(value, "1900-01-01", "2100-01-01")


@pytest.mark.parametrize(
    "value",
    [
        "2013-13-01",
        "2013-01-01T25:00:00Z",
        "20130101T00",
        "1_000",
        "\u0663",
        "1e",
        ".",
        "+",
        " ",
        "1 0",
        "1.2.3",
        "2013-01-01+02",
    ],
)
def test_what_looks_like_an_instant_or_a_number_may_be_text(value: str) -> None:
    assert parse(value) == (ordering.STRING, value)


@pytest.mark.parametrize(
    ("value", "same"),
    [
        ("2013-01-31 10:00:00+00", "2013-01-31T10:00:00Z"),  # PostgreSQL
        ("2013-01-31T12:00:00.25+0200", "2013-01-31T10:00:00.25Z"),
        ("2013-01-31T10:00-0530", "2013-01-31T15:30:00Z"),
        (" 2013-01-31 ", "2013-01-31"),
        (".5", 0.5),
        ("-.5e1", -5.0),
        ("5.", 5.0),
        (" 10", 10),
        ("7 ", 7),
    ],
)
def test_values_as_programs_write_them(value: str, same: object) -> None:
    assert parse(value) == parse(same)


@given(INSTANTS, INSTANTS)
def test_instants_compare_as_instants_in_any_offset(one: dt.datetime, other: dt.datetime) -> None:
    first, second = parse(one.isoformat()), parse(other.isoformat())
    if one.utcoffset().seconds % 60 or other.utcoffset().seconds % 60:  # type: ignore[union-attr]
        return  # RFC 3339 has no seconds in an offset
    assert first is not None
    assert second is not None
    assert (first < second) == (one.astimezone(dt.UTC) < other.astimezone(dt.UTC))


@given(VALUES)
def test_canonical_is_the_same_value_and_stays(value: object) -> None:
    assert parse(canonical(value)) == parse(value)
    assert canonical(canonical(value)) == canonical(value)


@given(st.lists(VALUES, max_size=8))
def test_highest_does_not_depend_on_the_order(values: list[object]) -> None:
    found: object = None
    for value in values:
        found = highest(found, value)
    assert parse(found) == parse(High().over(reversed(values)).best)
    assert all(parse(value) is None or parse(value) <= parse(found) for value in values)  # type: ignore[operator]


def test_a_missing_value_never_stops_a_cursor() -> None:
    assert highest("NA", "9") == "9"
    assert highest("10", "NA") == "10"
    assert High().over(["9", "NA", "10", "", None]).value(text=False) == "10"
    assert highest(None, "") is None


def test_after() -> None:
    assert [value for value in ("8", "9", "10", "NA") if after("9")(value)] == ["10"]
    assert [value for value in ("8", "9", "10", "NA") if after(9, inclusive=True)(value)] == ["9", "10"]
    assert all(map(after(None), ("", None, "NA", 1)))


@given(st.lists(VALUES), NUMBERS, NUMBERS)
def test_the_memo_changes_nothing(values: list[object], one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    test = predicate(low, high)
    for value in values + values:
        key = parse(value)
        assert test(value) == (key is not None and key[0] == ordering.NUMBER and low <= key[1] < high)


@pytest.mark.parametrize(
    ("from_", "to", "step", "count", "first"),
    [
        ("2013-01-01", "2014-02-01", "month", 13, ("2013-01-01T00:00:00Z", "2013-02-01T00:00:00Z")),
        ("2013-01-15", "2013-03-02", "1mo", 3, ("2013-01-15T00:00:00Z", "2013-02-01T00:00:00Z")),
        ("2013-01-15", "2013-07-01", "2mo", 3, ("2013-01-15T00:00:00Z", "2013-03-01T00:00:00Z")),
        ("2013-01-01", "2013-01-15", "week", 3, ("2013-01-01T00:00:00Z", "2013-01-07T00:00:00Z")),
        ("2012-05-01", "2014-01-01", "year", 2, ("2012-05-01T00:00:00Z", "2013-01-01T00:00:00Z")),
        ("2013-01-01T12:00:00Z", "2013-01-03", "day", 2, ("2013-01-01T12:00:00Z", "2013-01-02T00:00:00Z")),
        ("2013-01-01T12:00:00Z", "2013-01-03", "1d", 2, ("2013-01-01T12:00:00Z", "2013-01-02T12:00:00Z")),
        (
            "2013-01-01",
            "2013-01-01T00:00:01Z",
            "250ms",
            4,
            ("2013-01-01T00:00:00Z", "2013-01-01T00:00:00.25Z"),
        ),
        (0, 10, 3, 4, (0, 3)),
        ("0", "10", "2.5", 4, (0, 2.5)),
        ("a", "b", None, 1, ("a", "b")),
        (5, 5, 1, 0, None),
    ],
)
def test_steps(from_: object, to: object, step: str, count: int, first: object) -> None:
    slices = steps(from_, to, step)
    assert len(slices) == count
    if slices:
        assert slices[0] == first
        assert (slices[0][0], slices[-1][1]) == (canonical(from_), canonical(to))
        assert all(low[1] == high[0] for low, high in itertools.pairwise(slices))


@given(INSTANTS, st.integers(1, 10**8), st.sampled_from(["month", "week", "3h", "year", "13d", "quarter"]))
def test_each_value_is_in_exactly_one_slice(start: dt.datetime, seconds: int, step: str) -> None:
    low = start.astimezone(dt.UTC)
    high = low + dt.timedelta(seconds=seconds)
    try:
        slices = steps(low.isoformat(), high.isoformat(), step)
    except ValueError as error:
        assert "more than" in str(error)  # noqa: PT017 -- the only reason there is
        return
    middle = (low + dt.timedelta(seconds=seconds // 2)).isoformat()
    assert sum(between(middle, *piece) for piece in slices) == 1


@pytest.mark.parametrize(
    ("from_", "to", "step", "part"),
    [
        (10, 5, None, "after to"),
        (1, "2013-01-01", None, "both must be of one kind"),
        (None, 5, None, "from is None"),
        ("2013-01-01", "2014-01-01", "fortnight", "is unknown"),
        ("2013-01-01", "2014-01-01", 5, "does not fit"),
        ("2013-01-01", "2014-01-01", "1s", "more than 10000"),
        (0, 5, "day", "does not fit"),
        (0, 5, -1, "does not fit"),
        ("a", "b", "1d", "leave step out"),
    ],
)
def test_what_is_wrong_is_said(from_: object, to: object, step: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        steps(from_, to, step)


@pytest.mark.parametrize("value", [10**30, -(2**63) - 1, 2**64, "9" * 30])
def test_a_number_beyond_64_bits_is_spelt_as_text_that_is_the_same_number(value: object) -> None:
    spelt = ordering.canonical(value)
    assert isinstance(spelt, str)
    assert ordering.canonical(spelt) == spelt
    assert ordering.parse(spelt) == ordering.parse(value)


@pytest.mark.parametrize("text", ["9" * 5000, "1e999", "-1e999"])
def test_digits_that_are_no_number_python_holds_are_text(text: str) -> None:
    assert ordering.canonical(text) == text
    assert ordering.parse(text) != ordering.parse(0)
