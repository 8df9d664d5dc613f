import math

import pytest

from gossip.broadcast import Broadcasts
from gossip.config import SwimConfig
from gossip.errors import BadConfig
from gossip.health import Health
from gossip.identity import NodeId
from gossip.suspicion import Suspicion
from gossip.timers import Timers

LAN = SwimConfig.lan()


@pytest.mark.parametrize(("n", "least", "greatest"), [(3, 4, 24), (10, 4, 24), (100, 8, 48), (1000, 12, 72)])
def test_bounds_of_a_suspicion(n: int, least: float, greatest: float) -> None:
    assert LAN.suspicion_bounds(n) == pytest.approx((least, greatest))


@pytest.mark.parametrize(("n", "times"), [(10, 8), (100, 12), (1000, 16)])
def test_how_often_news_are_sent(n: int, times: int) -> None:
    assert LAN.retransmits(n) == times


@pytest.mark.parametrize(("n", "pause"), [(2, 30), (32, 30), (100, 90), (1000, 180)])
def test_push_pull_is_rarer_in_a_larger_mesh(n: int, pause: float) -> None:
    assert LAN.sync_pause(n) == pause


@pytest.mark.parametrize(("n", "wanted"), [(1, 0), (2, 0), (3, 0), (4, 2), (100, 2)])
def test_confirmations_are_wanted_only_where_enough_could_give_them(n: int, wanted: int) -> None:
    assert LAN.confirmations(n) == wanted


def test_each_new_accuser_shortens_a_suspicion_by_the_formula() -> None:
    suspicion = Suspicion.start(LAN, n=10, accuser=NodeId("a"), now=100.0)
    assert suspicion.due == pytest.approx(124.0)
    assert not suspicion.confirm(NodeId("a"))
    assert suspicion.confirm(NodeId("b"))
    assert suspicion.duration == pytest.approx(24 - 20 * math.log(2) / math.log(3))
    assert not suspicion.confirm(NodeId("b"))
    assert suspicion.confirm(NodeId("c"))
    assert suspicion.due == pytest.approx(104.0)
    assert not suspicion.confirm(NodeId("d")), "beyond K there is nothing to tell"


def test_with_three_nodes_a_suspicion_is_short_from_the_start() -> None:
    assert Suspicion.start(LAN, n=3, accuser=NodeId("a"), now=0.0).due == pytest.approx(4.0)


def test_least_sent_news_go_first_then_the_longest_that_fits() -> None:
    news = Broadcasts()
    news.put(NodeId("a"), b"a" * 100)
    assert news.take(1000, 3) == [b"a" * 100]
    news.put(NodeId("b"), b"b" * 50)
    news.put(NodeId("c"), b"c" * 80)
    assert news.take(200, 3) == [b"c" * 80, b"b" * 50]
    assert news.take(140, 3) == [b"a" * 100]
    news.put(NodeId("b"), b"B" * 50)
    assert news.take(130, 3) == [b"B" * 50, b"c" * 80]


def test_news_are_sent_so_often_and_no_more() -> None:
    news = Broadcasts()
    news.put(NodeId("a"), b"a" * 30)
    assert [len(news.take(100, 4)) for _ in range(5)] == [1, 1, 1, 1, 0]


def test_of_two_timers_due_at_once_the_first_set_is_the_first() -> None:
    timers = Timers()
    timers.set(("probe", ""), 2.0)
    timers.set(("sync", ""), 1.0)
    timers.set(("gossip", ""), 1.0)
    timers.set(("probe", ""), 1.0)
    timers.cancel(("sync", ""))
    assert timers.pop(0.9) is None
    fired = [timer.key[0] for timer in iter(lambda: timers.pop(5.0), None)]
    assert fired == ["gossip", "probe"]
    assert timers.due() is None


def test_health_stays_within_its_bounds() -> None:
    health = Health(limit=8, spacing=0.5)
    health.apply(100)
    assert health.score == 7
    health.apply(-100)
    assert health.score == 0


def test_lag_that_lasts_ends_accusations_until_it_is_over() -> None:
    health = Health(limit=8, spacing=0.5)
    for step in range(5):
        health.lagged(0.6, float(step))
        assert health.accusing(float(step))
    health.lagged(0.6, 5.0)
    assert not health.accusing(5.0)
    assert not health.accusing(9.9)
    assert health.accusing(10.0)


def test_small_or_single_lags_do_not_end_accusations() -> None:
    health = Health(limit=8, spacing=0.5)
    for step in range(20):
        health.lagged(0.4, float(step))
    health.lagged(2.0, 30.0)
    health.lagged(2.0, 38.0)
    assert health.accusing(38.0)


def test_a_config_that_cannot_work_names_the_field() -> None:
    with pytest.raises(BadConfig, match=r"gossip.probe_timeout is 1.5 s; it must be below probe_interval"):
        SwimConfig(probe_timeout=1.5)
    with pytest.raises(BadConfig, match=r"gossip.gossip_fanout is 0; it must be greater than 0"):
        SwimConfig(gossip_fanout=0)
