"""Task files: TOML, YAML or JSON, from a path or standard input, into the objects that the API takes."""

import datetime as dt
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from node.cli.failures import USAGE, Failure

KINDS = {".toml": "TOML", ".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}


def read_specs(name: str) -> list[tuple[str, dict[str, Any]]]:
    """The task objects of a file (`-`: standard input), each with a label for messages.

    A JSON list and a YAML file of several documents hold several. Raises Failure with file and place.
    """
    text = _read(name)
    kind = KINDS.get(Path(name).suffix.lower()) or _guess(text)
    try:
        found = _parse(kind, text)
        tasks = found if isinstance(found, list) else [found]
        if not tasks or not all(isinstance(task, dict) for task in tasks):
            raise Failure(
                f"{name}: a task file is a table (or a list of tables) with a source and a sink", USAGE
            )
        return [(f"{name}[{i}]" if len(tasks) > 1 else name, _plain(task)) for i, task in enumerate(tasks)]
    except (ValueError, RecursionError) as error:
        raise Failure(f"{name}: not valid {kind}: {error}", USAGE) from None


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{name}: not UTF-8 text (byte {error.start})", USAGE) from None
    except OSError as error:
        raise Failure(f"{name}: cannot be read: {error.strerror}", USAGE) from None


def _guess(text: str) -> str:
    """What text without a telling name is: JSON, else TOML where it parses as such, else YAML."""
    if text.lstrip().startswith("{"):
        return "JSON"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return "YAML"
    return "TOML"


def _parse(kind: str, text: str) -> Any:
    if kind == "TOML":
        return tomllib.loads(text)
    if kind == "JSON":
        return msgspec.json.decode(text)
    import yaml

    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return documents[0] if len(documents) == 1 else documents


def _plain(value: Any) -> Any:
    """JSON values only: instants become RFC 3339 in UTC, local times and dates keep their text."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value
