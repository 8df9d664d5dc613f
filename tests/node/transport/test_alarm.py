"""The alarm under a clock and loop moved by hand."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from node.transport.alarm import GRACE, Alarm


class Timer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Bench:
    """A loop that runs its timers when told, as late as told."""

    def __init__(self) -> None:
        self.time = 100.0
        self.timers: list[Timer] = []
        self.fired: list[float] = []
        self.late: list[float] = []
        self.alarm = Alarm(
            cast("asyncio.AbstractEventLoop", self),
            lambda: self.time,
            on_due=lambda: self.fired.append(self.time),
            on_late=self._on_late,
        )
        self.after_late: Callable[[], None] = lambda: None

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.time + delay, call))
        return self.timers[-1]

    def wake(self, time: float) -> None:
        self.time = time
        due = [timer for timer in self.timers if timer.when <= time and not timer.cancelled]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer.call()

    def _on_late(self, seconds: float) -> None:
        self.late.append(seconds)
        self.after_late()


def test_fires_in_time() -> None:
    bench = Bench()
    bench.alarm.set(101.0)
    bench.wake(100.9)
    assert bench.fired == []
    bench.wake(101.09)
    assert bench.fired == [101.09]
    assert bench.late == []
    assert bench.alarm.lag == pytest.approx(0.09)


def test_a_late_firing_reports_first_and_judges_after_the_grace_once() -> None:
    bench = Bench()
    bench.alarm.set(100.2)
    bench.wake(100.5)
    assert bench.fired == []
    assert bench.late == [pytest.approx(0.3)]
    bench.wake(100.5 + GRACE + 5.0)
    assert bench.fired == [100.5 + GRACE + 5.0], "late again: it is judged all the same"
    assert len(bench.late) == 1


def test_what_is_set_while_reporting_does_not_shorten_the_grace() -> None:
    bench = Bench()
    bench.after_late = lambda: bench.alarm.set(100.3)
    bench.alarm.set(100.2)
    bench.wake(100.5)
    bench.wake(100.5 + GRACE / 2)
    assert bench.fired == []
    bench.wake(100.5 + GRACE)
    assert bench.fired == [100.5 + GRACE]


def test_setting_the_same_time_again_does_not_hide_lateness() -> None:
    bench = Bench()
    bench.alarm.set(100.2)
    bench.time = 100.5
    bench.alarm.set(100.2)
    bench.wake(100.5)
    assert bench.late == [pytest.approx(0.3)]


def test_a_later_or_no_time_replaces_the_earlier() -> None:
    bench = Bench()
    bench.alarm.set(100.2)
    bench.alarm.set(100.4)
    bench.wake(100.3)
    assert bench.fired == []
    bench.alarm.set(None)
    bench.wake(101.0)
    assert bench.fired == []
    bench.alarm.set(101.5)
    bench.alarm.cancel()
    bench.wake(102.0)
    assert bench.fired == []
