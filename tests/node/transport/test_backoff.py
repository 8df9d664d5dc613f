import random

from node.transport.backoff import Backoff


def test_delays_double_up_to_the_limit_and_end_with_success() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    backoff: Backoff[str] = Backoff(first=1.0, limit=8.0, rng=random.Random(seed))
    assert backoff.ready("a", 0.0)
    for expected in (1.0, 2.0, 4.0, 8.0, 8.0):
        pause = backoff.failed("a", 100.0)
        assert expected / 2 <= pause <= expected
        assert not backoff.ready("a", 100.0 + pause * 0.99)
        assert backoff.ready("a", 100.0 + pause)
        assert backoff.ready("b", 100.0)
    backoff.succeeded("a")
    assert backoff.ready("a", 100.0)
    assert backoff.failed("a", 0.0) <= 1.0


def test_memory_is_bounded_the_oldest_goes_first() -> None:
    backoff: Backoff[int] = Backoff(first=1.0, limit=8.0, rng=random.Random(1), cap=10)
    for key in range(11):
        backoff.failed(key, 0.0)
    assert [key for key in range(11) if backoff.ready(key, 0.1)] == [0]
