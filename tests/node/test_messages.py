"""What a message may hold, so that one of a member gone wrong is dropped where it arrives."""

import random
from typing import Any

import msgspec
import pytest

from gossip.errors import Malformed
from gossip.identity import Boot, NodeId
from gossip.member import Meta, decode_meta, encode_meta
from node.effects import Send
from node.execution.jobs import JobKey
from node.leases.core import LeaseConfig, Leases
from node.messages import BadMessage, Facts, LeaseMaps, PauseAsk, PauseTold, decode, encode

FACTS = Facts(
    name="a", roots={}, plugins={}, secrets=[], labels={}, http="", version="1", region="eu", holds=["us"]
)
MAPS = LeaseMaps(1, False, [[("a", 1.0, "eu/z1"), ("b", 0.5, "")]], True)


@pytest.mark.parametrize(
    "name", ["", "local ", "BAD", "a" * 10, "eu\n", "e/u", "\N{LATIN SMALL LETTER A WITH DIAERESIS}"]
)
def test_what_is_no_region_is_not_taken(name: str) -> None:
    """Each listing was answered 500 while a member said that it has tasks of such a region."""
    assert decode(encode(FACTS)) == FACTS
    for facts in ({"holds": ["us", name]}, {"region": name or "-"}):
        with pytest.raises(BadMessage):
            decode(encode(msgspec.structs.replace(FACTS, **facts)))
    with pytest.raises(Malformed):
        decode_meta(encode_meta(Meta("a", region=name)))


@pytest.mark.parametrize(
    "candidate", [("a", -1.0, ""), ("a", float("inf"), ""), ("a", 1.0, "BAD/z"), ("a", 1.0, "eu/a/b")]
)
def test_what_is_no_candidate_is_not_taken(candidate: Any) -> None:
    assert decode(encode(MAPS)) == MAPS
    with pytest.raises(BadMessage):
        decode(encode(msgspec.structs.replace(MAPS, maps=[[candidate]])))


def test_jobs_that_are_of_no_task_are_strays_like_others() -> None:
    leases = Leases(NodeId("a"), Boot(1), LeaseConfig(), replicas=3, slots=4, rng=random.Random(1))
    nonsense = JobKey("no task", "r", "shard", "s")
    leases.asked(NodeId("b"), PauseAsk(1.0, [1], [nonsense]), [nonsense], 1.0)
    (answer,) = [effect for effect in leases.flush() if isinstance(effect, Send)]
    assert answer.message == PauseTold(1.0, {}, [nonsense])
