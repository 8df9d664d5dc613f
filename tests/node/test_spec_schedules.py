from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import schedules
from node.schedules import check_schedule, next_instant

BERLIN = "Europe/Berlin"


def series(schedule: str, timezone: str, start: str, count: int) -> list[str]:
    at, found = datetime.fromisoformat(start), []
    for _ in range(count):
        at = next_instant(schedule, timezone, at)
        found.append(at.isoformat())
    return found


def test_cron_follows_the_wall_clock_of_its_zone() -> None:
    assert series("0 9 * * 1-5", "America/New_York", "2026-01-02T20:00:00+00:00", 2) == [
        "2026-01-05T14:00:00+00:00",
        "2026-01-06T14:00:00+00:00",
    ]


def test_an_instant_that_summer_time_skips_runs_after_the_gap() -> None:
    assert series("30 2 * * *", BERLIN, "2026-03-28T12:00:00+00:00", 2) == [
        "2026-03-29T01:00:00+00:00",
        "2026-03-30T00:30:00+00:00",
    ]


def test_an_instant_that_comes_twice_runs_once() -> None:
    assert series("30 2 * * *", BERLIN, "2026-10-24T12:00:00+00:00", 2) == [
        "2026-10-25T00:30:00+00:00",
        "2026-10-26T01:30:00+00:00",
    ]


def test_in_the_repeated_hour_time_never_goes_back() -> None:
    second_half_past = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert next_instant("40 2 * * *", BERLIN, second_half_past) > second_half_past


@settings(deadline=None)
@given(
    st.sampled_from(["*/20 * * * *", "30 2 * * *", "0 0 1 * *", "every 90s", "every 1h", "15 3 * * 0"]),
    st.sampled_from(["UTC", BERLIN, "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.datetimes(min_value=datetime(2010, 1, 1), max_value=datetime(2035, 1, 1)),  # noqa: DTZ001
)
def test_next_is_after_and_nothing_lies_between(schedule: str, timezone: str, naive: datetime) -> None:
    after = naive.replace(tzinfo=UTC)
    following = next_instant(schedule, timezone, after)
    assert following > after
    middle = after + (following - after) / 2
    schedules._found.clear()
    assert next_instant(schedule, timezone, middle) == following


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["*/20 * * * *", "30 2 * * *", "30 1 * * *", "0 0 1 * *", "15 3 * * 0", "59 23 31 12 *"]),
    st.sampled_from(["UTC", BERLIN, "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.sampled_from(
        ["2026-03-29T00:00", "2026-10-25T00:00", "2026-04-04T14:00", "2026-10-03T14:00", "2018-02-17T23:00"]
    ),
    st.lists(st.integers(-3_000, 3_000), min_size=2, max_size=12),
)
def test_what_is_remembered_is_what_would_be_found(
    schedule: str, timezone: str, near: str, minutes: list[int]
) -> None:
    """In any order, around changes to and from summer time."""
    schedules._found.clear()
    for offset in minutes:
        after = datetime.fromisoformat(near).replace(tzinfo=UTC) + timedelta(
            minutes=offset, seconds=offset % 7
        )
        assert next_instant(schedule, timezone, after) == schedules._next_in_cron(schedule, timezone, after)


def test_not_more_is_remembered_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "REMEMBERED", 5)
    schedules._found.clear()
    for minute in range(20):
        next_instant(f"{minute} * * * *", "UTC", datetime(2026, 1, 1, tzinfo=UTC))
        assert len(schedules._found) <= 5


def test_intervals_are_anchored_to_the_epoch() -> None:
    here = next_instant("every 5m", "UTC", datetime(2026, 1, 1, 0, 1, tzinfo=UTC))
    there = next_instant("every 5m", BERLIN, datetime(2026, 1, 1, 0, 4, 59, tzinfo=UTC))
    assert here == there == datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    assert next_instant("every 5m", "UTC", here) == here + timedelta(minutes=5)


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "@daily",
        "every",
        "every 0s",
        "every 10 parsecs",
        "every 900d",
    ],
)
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_schedule(schedule)
