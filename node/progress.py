"""How far a run is, by its shards. Pure."""

from collections.abc import Iterable

from state.model import Ended, Live, PlannedShard


def share_done(shards: Iterable[tuple[str, PlannedShard, Live | Ended | None]]) -> float | None:
    """The share of the work that is done, by weight; None before there is a plan."""
    done = total = 0.0
    for state, plan, known in shards:
        total += plan.weight
        done += plan.weight * (1.0 if state == "succeeded" else _within(plan, known))
    return round(min(1.0, done / total), 4) if total else None


def _within(plan: PlannedShard, known: Live | Ended | None) -> float:
    """The part of one shard that is done: by its committed position or, between commits, by the bytes it has
    read.
    """
    if known is None:
        return 0.0
    start = plan.start or 0
    numbers = (start, plan.end)
    if not all(isinstance(number, int | float) for number in numbers) or plan.end <= start:
        return 0.0
    at = known.position if isinstance(known.position, int | float) else start
    return float(max(0.0, min(1.0, max(at - start, known.totals.bytes) / (plan.end - start))))


def time_left(progress: float | None, seconds: float) -> float | None:
    """Seconds, if it goes on as in the `seconds` until now; None where nothing says so."""
    if not progress or progress >= 1.0:
        return None
    return round(seconds * (1.0 - progress) / progress, 1)
