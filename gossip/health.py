"""How far this node may trust its own judgement: Lifeguard's local health, and lateness of its timers."""

LAG_NOTED = 0.5
LAG_PERIOD = 5.0
"""Later than LAG_NOTED seconds over LAG_PERIOD seconds: stop accusing, until LAG_PERIOD seconds went well."""


class Health:
    """score: 0 (well) .. limit - 1. The time given to a probe is multiplied by score + 1."""

    def __init__(self, *, limit: int, spacing: float) -> None:
        """spacing: two reports of lateness within so many seconds are one stall."""
        self.score = 0
        self._limit = limit
        self._spacing = spacing
        self._noted = float("-inf")
        self._lag_began = 0.0
        self._lag_ended = float("-inf")

    def apply(self, delta: int) -> None:
        self.score = min(self._limit - 1, max(0, self.score + delta))

    def lagged(self, seconds: float, now: float) -> None:
        if now - self._noted > self._spacing:
            self.apply(1)
            self._noted = now
        if seconds <= LAG_NOTED:
            return
        began = now - seconds
        if began - self._lag_ended > LAG_PERIOD:
            self._lag_began = began
        self._lag_ended = now

    def accusing(self, now: float) -> bool:
        """Whether silence may be held against others now."""
        lagging = self._lag_ended - self._lag_began >= LAG_PERIOD
        return not (lagging and now - self._lag_ended < LAG_PERIOD)
