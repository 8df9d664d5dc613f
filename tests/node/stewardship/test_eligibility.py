"""Why a node cannot run a task, as `collect why` tells it."""

import msgspec
import pytest

from gossip.identity import NodeId
from node.stewardship.eligibility import Needs
from tests.node.stewardship.desk import Desk, facts_of, member

B = NodeId("b")


@pytest.mark.parametrize(
    ("weight", "paused", "told"),
    [
        (1.0, False, []),
        (1.0, True, ["is paused"]),
        (0.0, True, ["is drained (`collect drain b --cancel` takes that back)"]),
    ],
)
def test_a_drained_node_is_told_from_a_paused_one(weight: float, paused: bool, told: list[str]) -> None:
    desk = Desk("a")
    seen = member("b")
    seen = msgspec.structs.replace(seen, meta=msgspec.structs.replace(seen.meta, weight=weight))
    desk.join(member("a"), seen)
    desk.core.receive(B, facts_of("b", paused=paused), desk.now, desk.wall)
    assert desk.core.steward.leasing.refusals(Needs())[B] == told
