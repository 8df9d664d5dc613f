from gossip.identity import NodeId
from node.lag import EVERY, MAX_OPEN, Lag

B, C = NodeId("b"), NodeId("c")


def test_the_lag_is_the_time_until_the_other_disk_has_it() -> None:
    lag = Lag()
    assert lag.p99() == 0.0
    for seq in range(100):
        lag.sent(B, (7, seq), seq * EVERY)
        lag.stored(B, [(7, seq), (8, seq)], seq * EVERY + (0.5 if seq in (3, 4) else 0.001))
    assert lag.p99() == 0.5


def test_one_late_of_a_hundred_is_beyond_the_percentile() -> None:
    lag = Lag()
    for seq in range(100):
        lag.sent(B, (7, seq), float(seq))
        lag.stored(B, [(7, seq)], seq + (0.5 if seq == 3 else 0.25))
    assert lag.p99() == 0.25


def test_peers_count_apart_and_writes_close_together_once() -> None:
    lag = Lag()
    lag.sent(B, (7, 1), 0.0)
    lag.sent(B, (7, 2), EVERY / 2)
    lag.sent(C, (7, 1), 0.0)
    lag.stored(B, [(7, 2)], 9.0)  # not taken
    lag.stored(B, [(7, 1)], 1.0)
    lag.stored(B, [(7, 1)], 9.0)  # said twice
    assert lag.p99() == 1.0
    lag.stored(C, [(7, 1)], 2.0)
    assert lag.p99() == 2.0


def test_the_gone_and_the_silent_do_not_pile_up() -> None:
    lag = Lag()
    for seq in range(2 * MAX_OPEN):
        lag.sent(B, (7, seq), float(seq))
    assert len(lag._open[B]) == MAX_OPEN
    lag.members([C])
    lag.stored(B, [(7, 1)], 9000.0)
    assert lag.p99() == 0.0
