"""What a task must satisfy beyond the shape of its fields; canonical durations, sizes, rates and bounds.

Every rule takes the spec, changes it in place where a value has a canonical form, and reports to `Problems`.
A rule whose fields are wrong already keeps silent.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from node.durations import duration, rate, size
from node.schedules import check_schedule, zone
from node.service import Facts
from node.spec.problems import Problems
from node.spec.raw import Limits, RawSpec, Section
from plugins import ordering

T = TypeVar("T")

PAUSE_NEEDS = 3
"""Replicas of a slot with which `on_partition = "pause"` makes sense: of two, neither side of a cut is a majority."""


def check_rules(spec: RawSpec, facts: Facts, problems: Problems) -> None:
    """All rules that do not concern plugins."""
    if spec.schedule is not None or spec.timezone != "UTC":
        _check_schedule(spec, problems)
    _check_mode(spec, problems)
    if spec.range is not None:
        _check_range(spec, problems)
    if spec.incremental is not None:
        _check_incremental(spec, problems)
    if spec.on_partition == "pause":
        _check_voters(spec, facts, problems)
    if spec.limits is not None and spec.limits.rate_key is not None:
        problems.add(
            "/limits/rate_key",
            "a rate shared by several tasks is not built yet",
            value=spec.limits.rate_key,
            remedy="leave it out; limits.rate bounds this task",
        )
    if spec.limits is not None or spec.retry is not None:
        check_amounts(spec.limits, spec.retry, problems)
    if spec.placement is not None:
        _check_placement(spec, facts, problems)
    drop_defaults(spec)


def _check_voters(spec: RawSpec, facts: Facts, problems: Problems) -> None:
    """The replicas vote that the task has in its home region: the one that it is pinned to, or that is asked."""
    pin = spec.placement.region if spec.placement is not None else None
    voters = facts.voters if pin is None else facts.voters_in.get(pin, facts.voters)
    if voters >= PAUSE_NEEDS:
        return
    several = len(facts.voters_in) > 1
    where = f"region {pin}" if pin is not None else "this region" if several else "this mesh"
    elsewhere = f", pin it to a region that has {PAUSE_NEEDS}" if several else ""
    problems.add(
        "/on_partition",
        f"needs {PAUSE_NEEDS} replicas, so that one side of a cut has a majority; {where} has {voters}",
        value="pause",
        allowed=["continue"],
        remedy=f"add nodes until there are {PAUSE_NEEDS} (and state.replicas is at least that){elsewhere}, "
        'or use "continue"',
    )


def drop_defaults(spec: RawSpec) -> None:
    """Leave out sections that say nothing, so that equal tasks have equal bytes."""
    for name in ("limits", "retry", "placement", "errors"):
        section: Section | None = getattr(spec, name)
        if section is not None and section == type(section)():
            setattr(spec, name, None)


def _check_schedule(spec: RawSpec, problems: Problems) -> None:
    if spec.schedule is not None:
        _attempt(check_schedule, spec.schedule, "/schedule", problems)
    _attempt(zone, spec.timezone, "/timezone", problems)


def _check_mode(spec: RawSpec, problems: Problems) -> None:
    for mode in ("incremental", "range"):
        present = getattr(spec, mode) is not None
        if spec.mode == mode and not present and not problems.spoiled("/" + mode):
            problems.add(
                "/" + mode, f'mode "{mode}" needs the table [{mode}]', remedy=f"add [{mode}] with its field"
            )
        if spec.mode != mode and present and not problems.spoiled("/mode"):
            problems.add(
                "/" + mode, f'[{mode}] has no meaning in mode "{spec.mode}"', remedy=f'set mode = "{mode}"'
            )


def _check_range(spec: RawSpec, problems: Problems) -> None:
    wanted = spec.range
    assert wanted is not None
    for pointer, value in (("/range/from", wanted.from_), ("/range/to", wanted.to)):
        _check_bound(pointer, value, problems)
    if problems.spoiled("/range"):
        return
    ends = _attempt(lambda to: ordering.bounds(wanted.from_, to), wanted.to, "/range/to", problems)
    if ends is None:
        return
    if ends[0] == ends[1]:
        problems.add("/range/to", "equals from; the range [from, to) is empty", value=wanted.to)
    if wanted.step is not None:
        _attempt(
            lambda step: ordering.steps(wanted.from_, wanted.to, step), wanted.step, "/range/step", problems
        )
    wanted.from_, wanted.to = ordering.canonical(wanted.from_), ordering.canonical(wanted.to)


def _check_incremental(spec: RawSpec, problems: Problems) -> None:
    wanted = spec.incremental
    assert wanted is not None
    if wanted.start is not None:
        _check_bound("/incremental/start", wanted.start, problems)
        wanted.start = ordering.canonical(wanted.start)
    if wanted.lag is None:
        return
    wanted.lag = _attempt(duration, wanted.lag, "/incremental/lag", problems)
    sinks = spec.sink if isinstance(spec.sink, list) else [spec.sink]
    if any(not sink.get("key") for sink in sinks):
        problems.add(
            "/incremental/lag",
            "reads late records again, so every sink needs a key to tell them from new ones",
            value=wanted.lag,
            remedy='give each sink key = ["..."], or leave out lag',
        )


def _check_bound(pointer: str, value: Any, problems: Problems) -> None:
    if ordering.parse(value) is None:
        problems.add(pointer, "must be an instant (RFC 3339), a number or text", value=value)


def check_amounts(
    limits: Limits | None, retry: Section | None, problems: Problems, *, pointer: str | None = None
) -> None:
    """Durations, sizes and rates into numbers. `pointer`: where retry stands, if not at /retry."""
    if limits is not None:
        words = {"rate": rate, "timeout": duration, "batch_bytes": size}
        _convert(limits, "/limits", words, problems)
        for name in ("timeout", "batch_bytes"):
            if getattr(limits, name) == 0:
                problems.add(
                    f"/limits/{name}", "must be above zero", value=0, remedy="leave it out for no limit"
                )
    if retry is not None:
        _convert(
            retry,
            "/retry" if pointer is None else pointer,
            {"delay": duration, "max_delay": duration},
            problems,
        )


def _convert(
    section: Section, pointer: str, words: Mapping[str, Callable[[Any], float]], problems: Problems
) -> None:
    for name, parse in words.items():
        value = getattr(section, name)
        if value is not None:
            setattr(section, name, _attempt(parse, value, f"{pointer}/{name}", problems))


def _check_placement(spec: RawSpec, facts: Facts, problems: Problems) -> None:
    placement = spec.placement
    assert placement is not None
    for index, node in enumerate(placement.nodes):
        if node not in facts.nodes:
            problems.unknown(f"/placement/nodes/{index}", "node", node, facts.nodes)
    if placement.region is not None and facts.regions and placement.region not in facts.regions:
        problems.unknown("/placement/region", "region", placement.region, facts.regions)


def _attempt(parse: Callable[[Any], T], value: Any, pointer: str, problems: Problems) -> T | None:
    """What `parse` makes of the value; None, with the reason reported, where it refuses."""
    try:
        return parse(value)
    except ValueError as error:
        problems.add(pointer, str(error), value=value)
        return None
