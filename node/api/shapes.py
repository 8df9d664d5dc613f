"""Answers of the API beside the shapes that users hold (node.schema); light, for the client imports them."""

from typing import Any

import msgspec

from node.schema import DeadLetterItem, Page, Task


class Health(msgspec.Struct, kw_only=True, omit_defaults=True):
    status: str
    reasons: list[str] = []


class Told(msgspec.Struct, kw_only=True):
    """How many tasks a control over a filter was told to."""

    told: int


class TaskPage(Page, kw_only=True):
    """A page of tasks."""

    items: list[Task]


class DeadLetterPage(Page, kw_only=True):
    """A page of dead letters."""

    items: list[DeadLetterItem]


class Event(msgspec.Struct, kw_only=True, frozen=True):
    """`id`: for Last-Event-ID. `kind` "reset": events were missed, read again what you show."""

    id: str
    kind: str
    data: dict[str, Any]
