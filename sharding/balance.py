"""Who takes the next unit of work: consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam
2016).
"""

import math
from collections.abc import Mapping

from gossip.identity import NodeId
from sharding.placement import rank

CAP = 1.25
"""No node gets more than 1.25 times the mean load; smaller is flatter, larger keeps affinity more often."""


def choose(affinity: str, loads: Mapping[NodeId, float]) -> NodeId | None:
    """The best ranked of the nodes whose load stays within the cap when it takes one more; None if there is
    no node.
    """
    if not loads:
        return None
    limit = max(1.0, math.ceil(CAP * (sum(loads.values()) + 1) / len(loads)))
    ranked = rank(affinity, loads)
    return next((node for node in ranked if loads[node] + 1 <= limit), ranked[0])
