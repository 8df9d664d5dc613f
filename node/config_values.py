"""What one value of node.toml may be: a parser takes TOML or text and gives the typed value.

A parser raises ValueError whose text names what is allowed. Text forms (environment, flags): lists are
comma-separated, tables are `key=value` pairs separated by commas, booleans `true` and `false`.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from node.durations import DURATION_FORM, duration

MESH_PORT = 8701
MESH_PORTS = 3
"""A node takes so many, from that of `mesh.bind` on."""

Parser = Callable[[Any, Path], Any]
"""`(raw, base) -> value`; `base` is the folder that relative paths start from."""


class Address(NamedTuple):
    """A host and a port to bind or to be reached at. Port 0: a free one is chosen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def wild(self) -> bool:
        """Whether it is every address of the host."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False


def address(default_host: str, last_port: int = 65535) -> Parser:
    """`host:port`, `[v6]:port`, or `:port` for the default host."""

    def parse(raw: Any, _base: Path) -> Address:
        match = (
            re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]*):(\d{1,5})", raw) if isinstance(raw, str) else None
        )
        if match is None or int(match[2]) > last_port:
            raise ValueError(f'"host:port" with a port from 0 to {last_port}, such as "{default_host}:0"')
        return Address(match[1].strip("[]") or default_host, int(match[2]))

    return parse


def reachable(raw: Any, base: Path) -> Address | None:
    """An address that others dial: host and port are both said. Empty: None."""
    if raw == "":
        return None
    value: Address = address("")(raw, base)
    if not value.host or not value.port:
        raise ValueError('"host:port" that others can reach, such as "10.0.0.5:8700"')
    return value


def seeds(raw: Any, base: Path) -> tuple[str, ...]:
    """`host:port`, a bare host or DNS name (the mesh port is then 8701), or a service name
    `_service._proto.domain`.
    """
    return tuple(_seed(value) for value in texts(raw, base))


def _seed(value: str) -> str:
    if re.fullmatch(r"_[A-Za-z0-9-]+(\.[A-Za-z0-9_-]+){2,}\.?", value):
        return value
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([1-9]\d{0,4}))?", value)
    if found is None or value.startswith("_") or int(found[2] or 0) > 65535:
        raise ValueError(f'a list of "host" or "host:port", not {value!r}')
    return value if found[2] else f"{value}:{MESH_PORT}"


def text(pattern: str, allowed: str) -> Parser:
    compiled = re.compile(pattern)

    def parse(raw: Any, _base: Path) -> str:
        if not isinstance(raw, str) or not compiled.fullmatch(raw):
            raise ValueError(allowed)
        return raw

    return parse


def choice(*allowed: str) -> Parser:
    def parse(raw: Any, _base: Path) -> str:
        if raw not in allowed:
            raise ValueError("one of " + ", ".join(f'"{name}"' for name in allowed))
        return str(raw)

    return parse


def integer(low: int, high: int) -> Parser:
    def parse(raw: Any, _base: Path) -> int:
        value = int(raw) if isinstance(raw, str) and re.fullmatch(r"-?\d{1,12}", raw) else raw
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def number(low: float, high: float) -> Parser:
    def parse(raw: Any, _base: Path) -> float:
        try:
            value = float("nan") if isinstance(raw, bool) else float(raw)
        except (TypeError, ValueError):
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return parse


def period(least: float) -> Callable[[Any, Path], float]:
    """A duration of at least so many seconds, in seconds."""

    def parse(raw: Any, _base: Path) -> float:
        try:
            value = (
                duration(raw) if isinstance(raw, str | int | float) and not isinstance(raw, bool) else -1.0
            )
        except ValueError:
            value = -1.0
        if value < least:
            raise ValueError(f"{DURATION_FORM}, at least {least:g} s")
        return value

    return parse


def flag(raw: Any, _base: Path) -> bool:
    value = {"true": True, "false": False}.get(raw.lower(), raw) if isinstance(raw, str) else raw
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004  (one kind of error for one kind of mistake)
    return value


def texts(raw: Any, _base: Path) -> tuple[str, ...]:
    values = [part.strip() for part in raw.split(",") if part.strip()] if isinstance(raw, str) else raw
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise ValueError("a list of texts")
    return tuple(values)


def networks(raw: Any, base: Path) -> tuple[str, ...]:
    values = texts(raw, base)
    for value in values:
        try:
            ipaddress.ip_network(value)
        except ValueError as error:
            raise ValueError(f'a list of CIDR networks such as "10.0.0.0/8" ({error})') from None
    return values


def labels(raw: Any, base: Path) -> dict[str, str]:
    pairs = dict(part.partition("=")[::2] for part in texts(raw, base)) if isinstance(raw, str) else raw
    word = re.compile(r"[A-Za-z0-9._/-]{1,63}")
    if not isinstance(pairs, dict) or not all(
        isinstance(value, str) and word.fullmatch(key) and word.fullmatch(value)
        for key, value in pairs.items()
    ):
        raise ValueError("a table of short texts, letters, digits and . _ / - only")
    return dict(pairs)


def path(raw: Any, base: Path) -> Path | None:
    """An absolute path; relative ones start at `base`, `~` is the home folder. Empty: None."""
    if not isinstance(raw, str):
        raise ValueError("a path, as text")  # noqa: TRY004  (one kind of error for one kind of mistake)
    return Path(base, Path(raw).expanduser()).absolute() if raw else None


def existing_file(raw: Any, base: Path) -> Path | None:
    value: Path | None = path(raw, base)
    if value is not None and not value.is_file():
        raise ValueError("the path of a file that exists")
    return value


def folder(raw: Any, base: Path) -> Path:
    value: Path | None = path(raw, base)
    if value is None or not value.is_dir():
        raise ValueError("the path of a folder that exists; create it first")
    return value
