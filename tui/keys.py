"""What a key does: the next thing looked at, and the action it asks for. Pure."""

from typing import Any, NamedTuple

import msgspec

from tui import view
from tui.view import Looking, Snapshot

HELP = (
    ("↑ ↓", "move"),
    ("Tab", "members or tasks"),
    ("Enter", "look into a node or task"),
    ("Esc", "back"),
    ("/", "filter: words found in id, name, tenant, state, steward"),
    ("s", "sort by " + ", ".join(view.SORTS)),
    ("p", "pause the task"),
    ("r", "resume a paused task, retry a failed one"),
    ("c", "cancel the task"),
    ("1 … 9", "another mesh, where several are watched"),
    ("?", "this help"),
    ("q", "quit"),
)
ENDED = frozenset({"failed", "partial", "cancelled"})


class Quit(NamedTuple):
    """Leave."""


class Control(NamedTuple):
    """Do `action` (pause, resume, retry, cancel) to the task with id `ref`; the user has confirmed it."""

    action: str
    ref: str


def press(looking: Looking, key: str, snapshot: Snapshot) -> tuple[Looking, Quit | Control | None]:
    """`key`: one character, or "up", "down", "enter", "esc", "tab", "backspace"."""
    looking = msgspec.structs.replace(looking, message="")
    if looking.asking is not None:
        return _confirm(looking, key)
    if looking.typing is not None:
        return _type(looking, looking.typing, key), None
    if looking.help:
        return msgspec.structs.replace(looking, help=False), None
    if key == "q":
        return looking, Quit()
    if key in ("p", "r", "c"):
        return _ask(looking, key, snapshot), None
    return _move(looking, key, snapshot), None


def selected_task(looking: Looking, snapshot: Snapshot) -> str | None:
    """The id of the task under the cursor, or of the one looked into."""
    if looking.place == "task":
        return looking.ref
    rows = view.tasks(snapshot, looking)
    if looking.place == "cluster" and looking.focus == "members":
        return None
    return rows[min(looking.cursor, len(rows) - 1)].id if rows else None


def _confirm(looking: Looking, key: str) -> tuple[Looking, Control | None]:
    assert looking.asking is not None
    action, ref = looking.asking
    if key not in ("y", "Y"):
        return msgspec.structs.replace(looking, asking=None, message=f"did not {action}"), None
    doing = {"pause": "pausing", "resume": "resuming", "retry": "retrying", "cancel": "cancelling"}[action]
    return msgspec.structs.replace(looking, asking=None, message=f"{doing} {ref}…"), Control(action, ref)


def _type(looking: Looking, typed: str, key: str) -> Looking:
    if key == "enter":
        return msgspec.structs.replace(looking, filter=typed, typing=None, cursor=0)
    if key == "esc":
        return msgspec.structs.replace(looking, filter="", typing=None, cursor=0)
    if key == "backspace":
        typed = typed[:-1]
    elif len(key) == 1 and key.isprintable():
        typed += key
    return msgspec.structs.replace(looking, typing=typed, filter=typed, cursor=0)


def _ask(looking: Looking, key: str, snapshot: Snapshot) -> Looking:
    ref = selected_task(looking, snapshot)
    if looking.readonly:
        return msgspec.structs.replace(looking, message="read only: started with --readonly")
    if ref is None:
        return msgspec.structs.replace(looking, message="no task selected")
    states = {task.id: task.state for task in snapshot.tasks}
    if snapshot.task is not None:
        states[snapshot.task.id] = snapshot.task.state
    again = "retry" if states.get(ref) in ENDED else "resume"
    action = {"p": "pause", "r": again, "c": "cancel"}[key]
    return msgspec.structs.replace(looking, asking=(action, ref))


def _move(looking: Looking, key: str, snapshot: Snapshot) -> Looking:
    replace = msgspec.structs.replace
    if key in ("up", "down"):
        last = max(0, _rows(looking, snapshot) - 1)
        step = 1 if key == "down" else -1
        return replace(looking, cursor=max(0, min(last, min(looking.cursor, last) + step)))
    if key == "enter":
        return _enter(looking, snapshot)
    if key == "tab" and looking.place == "cluster":
        return replace(looking, focus="members" if looking.focus == "tasks" else "tasks", cursor=0)
    if key == "esc":
        return replace(looking, place="cluster", ref="", cursor=0)
    if key in "123456789"[: looking.meshes] and looking.meshes > 1:
        return replace(looking, mesh=int(key) - 1, place="cluster", ref="", focus="tasks", cursor=0)
    next_sort = view.SORTS[(view.SORTS.index(looking.sort) + 1) % len(view.SORTS)]
    changes: dict[str, dict[str, Any]] = {
        "/": {"typing": looking.filter},
        "s": {"sort": next_sort},
        "?": {"help": True},
    }
    return replace(looking, **changes.get(key, {}))


def _rows(looking: Looking, snapshot: Snapshot) -> int:
    if looking.place == "task":
        return len(snapshot.shards)
    if looking.place == "cluster" and looking.focus == "members":
        return len(view.members(snapshot))
    return len(view.tasks(snapshot, looking))


def _enter(looking: Looking, snapshot: Snapshot) -> Looking:
    if looking.place == "cluster" and looking.focus == "members":
        rows = view.members(snapshot)
        if rows:
            ref = rows[min(looking.cursor, len(rows) - 1)].id
            return msgspec.structs.replace(looking, place="node", ref=ref, focus="tasks", cursor=0)
        return looking
    ref = selected_task(looking, snapshot) or ""
    if looking.place == "task" or not ref:
        return looking
    return msgspec.structs.replace(looking, place="task", ref=ref, cursor=0)
