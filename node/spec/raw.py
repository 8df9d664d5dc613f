"""The shape of a task as users write it; its types are the first half of the rules, and the published schema.

The structs are also what is stored: the rules put durations, sizes and rates into numbers in place, and
defaults are left out, so two ways to write one task give the same bytes.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Name = Annotated[
    str, Meta(pattern=r"^[a-z0-9-]{1,63}$(?!\n)", description="Lower-case letters, digits, hyphens.")
]
Positive = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Duration = Annotated[
    str | float, Meta(description='"250ms" "5s" "10m" "2h" "1d", or seconds', examples=["10m"])
]
Size = Annotated[str | int, Meta(description='"64MiB", or bytes', examples=["1MiB"])]
Rate = Annotated[str | float, Meta(description='"50/s" "600/m", or units per second', examples=["50/s"])]
Bound = Annotated[str | int | float, Meta(description="RFC 3339 instant, number or string")]


class Section(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of a task. Unknown keys are errors."""


class Range(Section):
    field: str
    from_: Bound = msgspec.field(name="from")
    to: Bound
    step: Annotated[str | int | float, Meta(description='a duration, "month", "3mo", or a number')] | None = (
        None
    )


class Incremental(Section):
    field: str
    start: Bound | None = None
    lag: Duration | None = None


class Limits(Section):
    rate: Rate | None = None
    rate_key: str | None = None
    concurrency: Positive | None = None
    shards: Positive | None = None
    timeout: Duration | None = None
    batch_records: Positive | None = None
    batch_bytes: Size | None = None


class Retry(Section):
    strategy: Literal["fixed", "linear", "exponential"] = "exponential"
    attempts: Annotated[int, Meta(ge=1, le=1000)] = 5
    delay: Duration = 1.0
    max_delay: Duration = 300.0


class Placement(Section):
    region: Annotated[str, Meta(pattern=r"^[a-z0-9]{1,9}$(?!\n)")] | None = None
    zone: str | None = None
    nodes: list[str] = []
    labels: dict[str, str] = {}


class Errors(Section):
    dead_letters: bool = True
    max: Annotated[int, Meta(ge=0, le=100_000_000)] = 10_000


Plugged = dict[str, Any]
"""`plugin`, for sinks `key` and `mode`, and the plugin's own options beside them."""
Several = Annotated[list[Plugged], Meta(max_length=64)]


class RawSpec(Section):
    """A task. `sink` may be one table or a list of them."""

    source: Plugged
    sink: Several | Plugged
    name: Name | None = None
    tenant: Name = "default"
    mode: Literal["full", "incremental", "range"] = "full"
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    schedule: str | None = None
    timezone: str = "UTC"
    overlap: Literal["skip", "queue"] = "skip"
    catch_up: Literal["none", "last", "all"] = "last"
    on_partition: Literal["continue", "pause"] = "continue"
    incremental: Incremental | None = None
    range: Range | None = None
    transform: Several = []
    limits: Limits | None = None
    retry: Retry | None = None
    placement: Placement | None = None
    errors: Errors | None = None
