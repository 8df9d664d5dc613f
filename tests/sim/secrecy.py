"""I21: no value of a secret is in any message, on any disk, or in any answer.

Most sources of the model name one secret, and fail with its value in the text. The runner of the model makes a report
of that with the code that ships. What real plugins and logs say is not in the simulator's reach.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from node.execution.failures import failure
from node.execution.secrets import PREFIX, Secrets
from node.views import TaskReader
from plugins.api import Retryable
from sharding.key import parse
from state.storage.archive import unpacked
from tests.sim.disk import Content

if TYPE_CHECKING:
    from tests.sim.world import World

NAME = "canary"
VALUE = "yellow-feathers-41"
_NEEDLE = VALUE.encode()
_SECRETS = Secrets(None, {PREFIX + NAME: VALUE})


def refused(source: dict[str, Any]) -> dict[str, str]:
    """What is reported of a source that failed and said what it was given."""
    values = [_SECRETS.get(source["password"]["secret"])] if "password" in source else []
    found = failure(Retryable(f"model failure of {' '.join(values)}", code="model"), "source model", values)
    return {"error": found.message, "code": found.code}


def told(payload: bytes) -> None:
    """A message goes out."""
    assert _NEEDLE not in payload, f"I21: a message holds a secret: {payload!r}"


def kept(world: "World") -> None:
    """Logs, bases, archives and the small files of all disks."""
    for node in world.members:
        assert _NEEDLE not in b"".join(_parts(node.disk.content)), (
            f"I21: the disk of {node.name} holds a secret"
        )


def _parts(content: Content) -> list[bytes]:
    rows = [msgspec.msgpack.encode(unpacked(row.data)) for row in content.rows.values()]
    return [*(frame for _, frame in content.records), *content.bases.values(), *rows, *content.promises]


def answered(world: "World") -> None:
    """What the API says of each task that failed at first: itself, its runs, its errors."""
    for task in world.tasks:
        if not world.source(task)["fail"]:
            continue
        at = parse(task.id)
        assert at is not None
        node = next(one for one in world.members if one.core.replicates(task.slot))
        entry = node.entry_of(task.slot, task.batch)
        if entry is None or task.index not in entry.present:
            continue
        reader = TaskReader(node.core, at, node.wall, node.ledger_of(task.slot, task.batch))
        errors = reader.errors()
        said = msgspec.json.encode((reader.task(), reader.runs(), errors))
        assert _NEEDLE not in said, f"I21: an answer about {task.id} holds a secret: {said!r}"
        world.hits["error answered without its secret"] += len(errors)
