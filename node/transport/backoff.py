"""When to try something again that failed: doubling delays with jitter, per key; pure."""

import random
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Backoff(Generic[Key]):
    """Delays double from `first` to `limit` seconds, shortened by up to a half at random.

    At most `cap` keys are remembered; the one that failed least recently is forgotten first.
    """

    def __init__(self, *, first: float, limit: float, rng: random.Random, cap: int = 4096) -> None:
        self._first = first
        self._limit = limit
        self._rng = rng
        self._cap = cap
        self._waits: dict[Key, tuple[float, float]] = {}  # delay, until

    def ready(self, key: Key, now: float) -> bool:
        """Whether a try is due. A key that never failed is."""
        return now >= self._waits.get(key, (0.0, now))[1]

    def failed(self, key: Key, now: float) -> float:
        """Note a failure; the seconds until the next try is due."""
        delay = min(self._limit, self._waits.pop(key, (self._first / 2, 0.0))[0] * 2)
        pause = delay * self._rng.uniform(0.5, 1.0)
        if len(self._waits) >= self._cap:
            del self._waits[next(iter(self._waits))]
        self._waits[key] = (delay, now + pause)
        return pause

    def succeeded(self, key: Key) -> None:
        self._waits.pop(key, None)
