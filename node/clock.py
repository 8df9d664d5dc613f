"""The clocks of this machine, for drivers; the cores are told the time."""

import time


def boottime() -> float:
    """The clock of all durations, in seconds: it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_ms() -> int:
    """The time of day: milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
