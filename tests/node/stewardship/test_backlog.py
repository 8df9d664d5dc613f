"""What comes next: classes, tenants, turns."""

import random
from collections import Counter

from node.schema import Limits, Retry
from node.stewardship.backlog import Backlog
from node.stewardship.specs import concurrent, rate_share, retry_delay


class Thing:
    def __init__(self, tenant: str, priority: int = 5, units: int = 1, *, solo: bool = False) -> None:
        self.tenant, self.priority, self.units, self.solo = tenant, priority, units, solo
        self.queued = False


def serve(backlog: Backlog, most: int = 10_000) -> list[Thing]:
    """One unit at a time, until nothing is left."""
    served: list[Thing] = []
    while len(served) < most and (item := backlog.next()) is not None:
        assert isinstance(item, Thing)
        served.append(item)
        item.units -= 1
        backlog.charge(item, 1)
        if item.units == 0:
            backlog.done(item)
    return served


def test_higher_classes_first_then_first_come() -> None:
    backlog = Backlog()
    things = [Thing("t", priority) for priority in (5, 0, 9, 5, 7)]
    for thing in things:
        backlog.push(thing)
    assert [things.index(thing) for thing in serve(backlog)] == [2, 4, 0, 3, 1]
    assert backlog.next() is None


def test_tenants_share_evenly_whatever_they_queue() -> None:
    backlog = Backlog()
    for _ in range(1000):
        backlog.push(Thing("many"))
    for _ in range(3):
        backlog.push(Thing("few", units=50))
    count = Counter(thing.tenant for thing in serve(backlog, 200))
    assert abs(count["many"] - count["few"]) <= 1


def test_idleness_saves_nothing_up() -> None:
    backlog = Backlog()
    backlog.push(Thing("busy", units=500))
    serve(backlog, 300)
    backlog.push(Thing("late", units=500))
    count = Counter(thing.tenant for thing in serve(backlog, 100))
    assert abs(count["busy"] - count["late"]) <= 1


def test_a_thing_is_queued_once() -> None:
    backlog = Backlog()
    thing = Thing("t", units=2)
    backlog.push(thing)
    backlog.push(thing)
    assert len(serve(backlog)) == 2
    assert not thing.queued


def test_a_changed_priority_counts_at_the_next_turn() -> None:
    backlog = Backlog()
    first, second = Thing("t"), Thing("t")
    for thing in (first, second):
        backlog.push(thing)
    first.priority = 2
    assert serve(backlog) == [second, first]
    for thing in (first, second):
        thing.units = 1
        backlog.push(thing)
    backlog.remove(first)
    first.priority = 9
    backlog.push(first)
    assert serve(backlog) == [first, second]


def test_raised_at_the_head_of_its_queue_it_goes_before_the_classes_between() -> None:
    backlog = Backlog()
    low, middle = Thing("t", 1), Thing("t", 5)
    backlog.push(low)
    low.priority = 9
    assert backlog.next() is low
    backlog.push(middle)
    assert serve(backlog) == [low, middle]


def test_what_is_parked_waits_and_comes_back() -> None:
    backlog = Backlog()
    first, second = Thing("t"), Thing("t")
    backlog.push(first)
    backlog.push(second)
    assert backlog.next() is first
    backlog.park(first)
    backlog.push(first)
    assert serve(backlog) == [second]
    backlog.unpark()
    backlog.unpark()
    assert serve(backlog) == [first]


def test_what_is_removed_is_gone_wherever_it_was() -> None:
    backlog = Backlog()
    queued, parked = Thing("t"), Thing("t")
    backlog.push(parked)
    backlog.next()
    backlog.park(parked)
    backlog.push(queued)
    backlog.remove(parked)
    backlog.remove(queued)
    backlog.remove(queued)
    backlog.unpark()
    assert backlog.next() is None
    assert (queued.queued, parked.queued) == (False, False)


def delays(strategy: str, **fields: float) -> list[float]:
    retry = Retry(strategy=strategy, delay=2.0, max_delay=20.0, **fields)  # type: ignore[arg-type]
    return [retry_delay(retry, attempt, random.Random(attempt)) for attempt in range(1, 7)]


def test_the_delays_of_each_strategy() -> None:
    assert delays("fixed") == [2.0] * 6
    assert delays("linear") == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    for attempt, delay in enumerate(delays("exponential"), 1):
        whole = 2.0 * 2 ** (attempt - 1)
        assert min(whole / 2, 20.0) <= delay <= min(whole, 20.0)


def test_a_source_may_ask_for_more_patience_than_the_policy() -> None:
    rng = random.Random(1)
    retry = Retry(strategy="fixed", delay=2.0, max_delay=20.0)
    assert retry_delay(retry, 1, rng, after=60.0) == 60.0
    assert retry_delay(retry, 1, rng, after=0.5) == 2.0
    assert retry_delay(Retry(), 5000, rng) <= 300.0


def test_shards_at_once_share_the_rate() -> None:
    for shards in (1, 3, 100):
        for limits in (
            Limits(rate=10.0),
            Limits(rate=10.0, concurrency=4),
            Limits(rate=10.0, concurrency=200),
        ):
            share = rate_share(limits, shards)
            assert share is not None
            assert share * min(shards, concurrent(limits, shards)) <= 10.0 + 1e-9
    assert rate_share(Limits(), 5) is None
    assert concurrent(Limits(), 5) == 5


def test_an_item_without_credit_of_its_kind_keeps_its_place_and_blocks_no_other_kind() -> None:
    backlog = Backlog()
    small, long, low = Thing("t", solo=True), Thing("t"), Thing("t", 3, solo=True)
    for thing in (small, long, low):
        backlog.push(thing)
    assert backlog.next(solo=False) is long
    assert backlog.next(other=False) is small
    assert backlog.next(solo=False, other=False) is None
    backlog.done(long)
    assert backlog.next(solo=False) is None
    assert serve(backlog) == [small, low]


def test_an_item_whose_kind_changed_is_moved() -> None:
    backlog = Backlog()
    thing = Thing("t", solo=True)
    backlog.push(thing)
    thing.solo = False
    assert backlog.next(solo=False) is None  # it still waits among the small ones
    assert backlog.next() is thing
    assert backlog.next(solo=False) is thing
    backlog.remove(thing)
    assert backlog.next() is None
    assert not thing.queued
