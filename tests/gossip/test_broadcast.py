"""Which news go first: the queue against a list that is sorted anew for each packet."""

import random

import pytest

from gossip.broadcast import LEAST_NEWS, Broadcasts
from gossip.identity import NodeId

Plain = dict[NodeId, tuple[int, int, int, bytes, bool]]


def plainly(news: Plain, room: int, limit: int, dead: NodeId | None) -> list[bytes]:
    """Takes as the docstring says, with no thought of speed."""
    taken = []
    for about, (times, length, age, encoded, accuses) in sorted(news.items(), key=lambda item: item[1][:3]):
        if room < LEAST_NEWS:
            break
        if len(encoded) > room or (accuses and dead not in (None, about)):
            continue
        room -= len(encoded)
        taken.append(encoded)
        news[about] = times + 1, length, age, encoded, accuses
        if times + 1 == limit:
            del news[about]
    return taken


@pytest.mark.parametrize("seed", range(5))
def test_news_go_in_order_of_their_rank(seed: int) -> None:
    rng = random.Random(seed)
    broadcasts, plain, limit = Broadcasts(), Plain(), rng.choice([1, 4, 12])
    nodes = [NodeId(f"n{number}") for number in range(40)]
    for step in range(2000):
        about, accuses = rng.choice(nodes), rng.random() < 0.5
        match rng.choice("pppptttd"):
            case "p":
                encoded = step.to_bytes(2, "big") + bytes(rng.choice([20, 22, 60, 170]))
                broadcasts.put(about, encoded, accuses=accuses)
                plain[about] = 0, -len(encoded), -step, encoded, accuses
            case "t":
                room, dead = rng.randrange(600), rng.choice([None, about])
                assert broadcasts.take(room, limit, dead) == plainly(plain, room, limit, dead)
            case _:
                broadcasts.drop(about)
                plain.pop(about, None)
        assert len(broadcasts) == len(plain)
        assert (about in broadcasts) == (about in plain)
    assert plain, "the queue was never empty for long"
