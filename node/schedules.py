"""When a scheduled task runs next: five-field cron in the task's time zone, or "every 5m".

Pure: the answer depends on the arguments alone, so every node computes the same instants. Intervals are
counted from the Unix epoch, not from the submit. Cron follows the wall clock: an instant that a change to
summer time skips is run right after the gap, one that a change back repeats is run once; minutes and hours
given as patterns ("*/20") go on through both.
"""

import functools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from node.durations import duration

SCHEDULE_FORM = 'five-field cron such as "*/5 * * * *", or "every 5m"'
EVERY = "every "
MIN_INTERVAL = 1.0
"""Seconds. A shorter interval than a run takes is a loop, not a schedule."""
MAX_INTERVAL = 366 * 86400.0
"""Seconds. Above a year cron says it better, and the arithmetic stays inside datetime's range."""

REMEMBERED = 4096
"""Schedules whose next instant is remembered: many tasks have the same, and each is asked for it every minute."""
_found: dict[tuple[str, str], tuple[datetime, datetime]] = {}
"""(schedule, time zone) -> an instant, and the one before which there is none after it."""


@functools.lru_cache(maxsize=1024)
def check_schedule(schedule: str) -> None:
    """Raise ValueError, with what is wrong, unless `schedule` is one that comes around."""
    if schedule.startswith(EVERY):
        interval(schedule)
        return
    if len(schedule.split()) != 5:
        raise ValueError(f"{schedule!r} is not {SCHEDULE_FORM}")
    try:
        next(CronSim(schedule, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(f"{schedule!r}: {str(error).lower()}; allowed is {SCHEDULE_FORM}") from None
    except StopIteration:
        raise ValueError(f"{schedule!r} never comes around") from None


@functools.lru_cache(maxsize=1024)
def interval(schedule: str) -> float:
    """Seconds of an "every ..." schedule."""
    seconds = duration(schedule.removeprefix(EVERY))
    if not MIN_INTERVAL <= seconds <= MAX_INTERVAL:
        raise ValueError(f"{schedule!r}: an interval is at least 1s and at most 366d")
    return seconds


@functools.lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The time zone of this IANA name; ValueError where there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}") from None


def next_instant(schedule: str, timezone: str, after: datetime) -> datetime:
    """The first instant of `schedule` after `after` (aware), in UTC. ValueError as `check_schedule`."""
    if schedule.startswith(EVERY):
        return _next_interval(interval(schedule), after)
    found = _found.get((schedule, timezone))
    if found is not None and found[0] <= after < found[1]:
        return found[1]
    following = _next_in_cron(schedule, timezone, after)
    if len(_found) >= REMEMBERED:
        _found.clear()
    same = found is not None and found[1] == following
    _found[schedule, timezone] = (min(after, found[0]) if same and found else after, following)
    return following


def _next_in_cron(schedule: str, timezone: str, after: datetime) -> datetime:
    check_schedule(schedule)
    # In a repeated hour the library answers with the first of both instants, which may be past.
    instants = (at.astimezone(UTC) for at in CronSim(schedule, after.astimezone(zone(timezone))))
    return next(at for at in instants if at > after)


def _next_interval(seconds: float, after: datetime) -> datetime:
    step = timedelta(seconds=seconds)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + ((after.astimezone(UTC) - epoch) // step + 1) * step
