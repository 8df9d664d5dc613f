"""Where configuration comes from: file, environment, flags; which of them wins; where a value stands."""

import difflib
import re
import tomllib
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from node.config_values import shown

PREFIX = "COLLECT_"
SECRETS = "COLLECT_SECRET_"
FLAGS = {
    "node.name": "--name",
    "node.data_dir": "--data-dir",
    "http.bind": "--http",
    "http.advertise": "--advertise-http",
    "http.token_file": "--http-token-file",
    "mesh.bind": "--mesh",
    "mesh.advertise": "--advertise-mesh",
    "mesh.seeds": "--seed",
    "mesh.mdns": "--no-mdns",
    "mesh.key_file": "--key-file",
    "node.region": "--region",
    "node.zone": "--zone",
    "gossip.profile": "--profile",
}
"""The keys that a flag of `collect-node` can set."""

MAX_FILE = 1 << 20
"""Bytes of a configuration file; what is longer is something else."""
ROOT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class Entry(msgspec.Struct, frozen=True):
    """One value as written. `where`: for people (`node.toml:12`); `base`: what relative paths start from."""

    raw: Any
    where: str
    base: Path


class ConfigItem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake: where it stands, the key ("" for the file as a whole), the value, and what to do."""

    where: str
    key: str
    message: str
    value: Any = None

    def __str__(self) -> str:
        value = f" = {shown(self.value)}" if self.value is not None else ""
        return (
            f"{self.where}: {self.key}{value} {self.message}" if self.key else f"{self.where}: {self.message}"
        )


class ConfigError(Exception):
    """The configuration cannot be used; `items` are all mistakes found. Nothing was started."""

    def __init__(self, items: Sequence[ConfigItem]) -> None:
        super().__init__("\n".join(map(str, items)))
        self.items = list(items)


def current_folder() -> Path:
    """Raises ConfigError where it was removed under the shell."""
    try:
        return Path.cwd()
    except OSError as error:
        message = f"the current folder is gone ({error.strerror}): start in one that exists"
        raise ConfigError([ConfigItem(where="collect-node", key="", message=message)]) from None


def is_there(path: Path) -> bool:
    """Whether anything has this name, be it a broken link: what cannot be read is told, and not passed over."""
    try:
        path.lstat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True


def gather(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    *,
    known: Sequence[str],
    cwd: Path,
) -> tuple[dict[str, Entry], list[ConfigItem]]:
    """The winning entry of each known key, and the mistakes: unreadable file, unknown keys."""
    items: list[ConfigItem] = []
    sections = {name.split(".")[0] for name in known}
    written = [*_from_file(path, items, sections), *_from_environ(environ, cwd), *_from_flags(flags, cwd)]
    entries: dict[str, Entry] = {}
    for key, entry in written:
        if _shape(key) in known:
            entries[key] = entry
        else:
            items.append(ConfigItem(where=entry.where, key=key, message=_unknown(key, known)))
    return entries, items


def _shape(key: str) -> str:
    """`roots.NAME.path` -> `roots.*.path`; a key with an impossible root name keeps its (unknown) shape."""
    parts = key.split(".")
    if len(parts) == 3 and parts[0] == "roots" and ROOT_NAME.fullmatch(parts[1]):
        parts[1] = "*"
    return ".".join(parts)


def _unknown(key: str, known: Sequence[str]) -> str:
    parts = key.split(".")
    if parts[0] == "roots" and len(parts) == 3 and not ROOT_NAME.fullmatch(parts[1]):
        return "is no root name: 1 to 32 lower-case letters, digits, _ or -"
    if parts[0] == "roots" and len(parts) == 2:
        return "is unknown; a root has a name and a path: roots.NAME.path"
    sections = sorted({name.split(".")[0] for name in known})
    if key in sections:
        return f"is a section, not a value; its keys are {key}.NAME"
    if parts[0] in sections:
        names = [name for name in known if name.startswith(parts[0] + ".")]
        near = difflib.get_close_matches(_shape(key), names, n=1, cutoff=0.0)[0]
        return f"is unknown; the nearest key is {near}"
    near_keys = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return (
        f"is unknown; the nearest key is {near_keys[0]}"
        if near_keys
        else f"is unknown; sections: {', '.join(sections)}"
    )


def _from_file(
    path: Path | None, items: list[ConfigItem], sections: Container[str]
) -> list[tuple[str, Entry]]:
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            items.append(ConfigItem(where=str(path), key="", message="is no configuration: above 1 MiB"))
            return []
        text = data.decode("utf-8-sig")
        table = tomllib.loads(text)
    except OSError as error:
        items.append(ConfigItem(where=str(path), key="", message=f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        items.append(ConfigItem(where=str(path), key="", message=f"is not UTF-8 text (byte {error.start})"))
    except tomllib.TOMLDecodeError as error:
        items.append(_syntax(path, str(error)))
    except (ValueError, RecursionError) as error:
        items.append(_syntax(path, f"a number that is too long, or too many brackets ({error})"))
    else:
        lines = _lines(text)
        return [
            (key, Entry(raw, _place(path, key, lines), path.absolute().parent))
            for key, raw in _flatten(table, sections)
        ]
    return []


def _syntax(path: Path, message: str) -> ConfigItem:
    match = re.search(r"\(at line (\d+), column (\d+)\)", message)
    where = f"{path}:{match[1]}" if match else str(path)
    return ConfigItem(where=where, key="", message=f"is not valid TOML: {message}")


def _flatten(table: Mapping[str, Any], sections: Container[str]) -> list[tuple[str, Any]]:
    """`[section] key` -> `section.key`, `[roots.NAME] key` -> `roots.NAME.key`; deeper tables are values.

    A table that is empty is a value where it is none of the `sections`: misspelt, it would go unseen.
    """
    found: list[tuple[str, Any]] = []
    for section, content in table.items():
        if not isinstance(content, dict) or (not content and section not in sections):
            found.append((section, content))
            continue
        for key, value in content.items():
            if section == "roots" and isinstance(value, dict) and value:
                found += [(f"roots.{key}.{name}", inner) for name, inner in value.items()]
            else:
                found.append((f"{section}.{key}", value))
    return found


def _lines(text: str) -> dict[str, int]:
    """Dotted key or section -> line. tomllib tells no lines; a key missed here is reported without one."""
    section = ""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            section = header[1].replace('"', "") + "."
            found.setdefault(section.rstrip("."), number)
        elif key := re.match(r"\s*([A-Za-z0-9_.\"-]+)\s*=", line):
            found.setdefault(section + key[1].replace('"', ""), number)
    return found


def _place(path: Path, key: str, lines: Mapping[str, int]) -> str:
    """`file:line` of the key, else of the table that holds it, else the file."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return f"{path}:{lines[key]}" if key else str(path)


def _from_environ(environ: Mapping[str, str], cwd: Path) -> list[tuple[str, Entry]]:
    found = []
    for name, text in sorted(environ.items()):
        if name.startswith(PREFIX) and "__" in name and not name.startswith(SECRETS):
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            found.append((key, Entry(text, f"environment {name}", cwd)))
    return found


def _from_flags(flags: Mapping[str, Any], cwd: Path) -> list[tuple[str, Entry]]:
    return [(key, Entry(raw, f"flag {FLAGS[key]}", cwd)) for key, raw in flags.items()]
