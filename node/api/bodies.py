"""What requests carry beside a task."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from node.spec.raw import Duration, Limits, Retry, Section


class PatchBody(Section):
    """What of a task can be changed while it runs; what is absent stays."""

    priority: Annotated[int, Meta(ge=0, le=9)] | None = None
    limits: Limits | None = None
    retry: Retry | None = None


class RetryBody(Section):
    """How to retry. `letters`: dead letters to replay, edited or not; `codes`, `ids`: which of the listed
    ones; `dead_letters`: all of them. None of these: the failed part of the last run.
    """

    strategy: Literal["fixed", "linear", "exponential"] | None = None
    attempts: Annotated[int, Meta(ge=1, le=1000)] | None = None
    delay: Duration | None = None
    max_delay: Duration | None = None
    letters: list[dict[str, Any]] | None = None
    codes: list[str] | None = None
    ids: list[str] | None = None
    dead_letters: bool = False


class DrainBody(Section):
    """`cancel`: take the drain back."""

    cancel: bool = False


class Nothing(Section):
    """An empty body."""
