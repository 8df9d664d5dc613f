"""Which nodes can run a task, and why the others cannot."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gossip.identity import NodeId
from node.messages import Facts
from node.schema import PlacementSpec


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a task needs of a node. `plugins`: as "kind:name". `roots`: name -> fingerprint;
    `origin`: the node that accepted the task
    and so has its roots.
    """

    plugins: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    roots: Mapping[str, str] = {}
    origin: str = ""
    placement: PlacementSpec | None = None


def refusals(
    node: NodeId, facts: Facts, needs: Needs, region: str = "", *, drained: bool = False
) -> list[str]:
    """Why this node cannot run it, for people; empty: it can. `region`: the steward's, which the task stays in unless
    it names another or a node. `drained`: its drain is why it is paused.
    """
    reasons = []
    if facts.paused:
        remedy = f"`collect drain {facts.name} --cancel` takes that back"
        reasons.append(f"is drained ({remedy})" if drained else "is paused")
    missing = sorted(needs.plugins - facts.plugins.keys())
    reasons.extend(f"has no {name.replace(':', ' ')}" for name in missing)
    reasons.extend(f"has no secret {name}" for name in sorted(needs.secrets - set(facts.secrets)))
    reasons.extend(root_refusals(node, facts, needs))
    placed = needs.placement is not None and (needs.placement.region or needs.placement.nodes)
    if region and facts.region not in ("", region) and not placed:
        reasons.append(f"is in region {facts.region}; the task is kept in region {region}")
    if needs.placement is not None:
        reasons.extend(_placement_refusals(node, facts, needs.placement))
    return reasons


def root_refusals(node: NodeId, facts: Facts, needs: Needs) -> list[str]:
    """Why this node cannot reach its folders."""
    reasons = []
    for name, wanted in sorted(needs.roots.items()):
        shared, fingerprint = facts.roots.get(name, (False, ""))
        if not fingerprint:
            reasons.append(f"has no root {name}")
        elif fingerprint != wanted and node != needs.origin:
            remedy = (
                "its share is not mounted there"
                if shared
                else "declare it shared = true if it is the same everywhere"
            )
            reasons.append(f"has another folder as root {name} ({remedy})")
    return reasons


def _placement_refusals(node: NodeId, facts: Facts, placement: PlacementSpec) -> list[str]:
    reasons = []
    if placement.region and facts.region != placement.region:
        reasons.append(f"is in region {facts.region}")
    if placement.zone and facts.zone != placement.zone:
        reasons.append(f"is in zone {facts.zone or '(none)'}")
    if placement.nodes and node not in placement.nodes and facts.name not in placement.nodes:
        reasons.append("is not among placement.nodes")
    reasons.extend(
        f"has label {key}={facts.labels.get(key, '(none)')}"
        for key, value in sorted(placement.labels.items())
        if facts.labels.get(key) != value
    )
    return reasons


def secrets_in(value: Any) -> set[str]:
    """Names of the secrets that a spec refers to, as `{"secret": NAME}` anywhere in it."""
    if isinstance(value, dict):
        if set(value) == {"secret"} and isinstance(value["secret"], str):
            return {value["secret"]}
        return {name for item in value.values() for name in secrets_in(item)}
    if isinstance(value, list):
        return {name for item in value for name in secrets_in(item)}
    return set()
