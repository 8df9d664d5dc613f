"""What one value of node.toml may be: a parser takes TOML or text and gives the typed value.

A parser raises ValueError whose text names what is allowed. Text forms (environment, flags): lists are
comma-separated, tables are `key=value` pairs separated by commas, booleans `true` and `false`.
"""

import ipaddress
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from node.durations import DURATION_FORM, duration

MESH_PORT = 8701
MESH_PORTS = 3
"""A node takes so many, from that of `mesh.bind` on."""

SHOWN = 200
"""Characters of a value that a message repeats."""

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
            return self.host == "*" or ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False


def address(default_host: str, last_port: int = 65535) -> Parser:
    """`host:port`, `[v6]:port`, or `:port` for the default host."""

    def parse(raw: Any, _base: Path) -> Address:
        value = _address(raw, last_port, default_host)
        if value is None:
            raise ValueError(f'"host:port" with a port from 0 to {last_port}, such as "{default_host}:0"')
        return value

    return parse


def reachable(last_port: int) -> Parser:
    """An address that others dial: host and port are both said, and the host is one host. Empty: None."""

    def parse(raw: Any, _base: Path) -> Address | None:
        if raw == "":
            return None
        value = _address(raw, last_port)
        if value is None or not value.host or not value.port or value.wild:
            raise ValueError(
                f'"host:port" that others can reach, with a port from 1 to {last_port}, such as "10.0.0.5:8700"'
            )
        return value

    return parse


def _address(raw: Any, last_port: int, default_host: str = "") -> Address | None:
    """None for what is no address."""
    form = r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]*):([0-9]{1,5})"
    match = re.fullmatch(form, raw) if isinstance(raw, str) else None
    if match is None or int(match[2]) > last_port or (match[1] and not _host(match[1])):
        return None
    return Address(match[1].strip("[]") or default_host, int(match[2]))


def _host(text: str) -> bool:
    """Whether it can be a host: an address of IPv4, one of IPv6 in brackets, or a name as DNS has them (RFC 1035)."""
    if text[0] == "[" or re.fullmatch(r"[0-9.]+", text):
        try:
            return ipaddress.ip_address(text.strip("[]")).version == (6 if text[0] == "[" else 4)
        except ValueError:
            return False
    labels = text.removesuffix(".").split(".")
    return len(text) <= 253 and all(0 < len(label) <= 63 for label in labels)


def seeds(raw: Any, base: Path) -> tuple[str, ...]:
    """`host:port`, a bare host or DNS name (the mesh port is then 8701), or a service name
    `_service._proto.domain`.
    """
    return tuple(_seed(value) for value in texts(raw, base))


def _seed(value: str) -> str:
    if re.fullmatch(r"_[A-Za-z0-9-]+(\.[A-Za-z0-9_-]+){2,}\.?", value) and _host(value):
        return value
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([1-9][0-9]{0,4}))?", value)
    if found is None or value.startswith("_") or int(found[2] or 0) > 65535 or not _host(found[1]):
        raise ValueError(f'a list of "host" or "host:port", not {shown(value)}')
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
        value = int(raw) if isinstance(raw, str) and re.fullmatch(r"-?[0-9]{1,12}", raw) else raw
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def number(low: float, high: float) -> Parser:
    def parse(raw: Any, _base: Path) -> float:
        try:
            value = float("nan") if isinstance(raw, bool) else float(raw)
        except (TypeError, ValueError, OverflowError):
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


def hosts(raw: Any, base: Path) -> tuple[str, ...]:
    """What the Host header of a request may name: in lower case, as it is compared."""
    values = texts(raw, base)
    for value in values:
        if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9a-fA-F:.]+", value):
            raise ValueError(f"a list of hosts, without a scheme and a port, not {shown(value)}")
    return tuple(value.lower() for value in values)


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
    if not isinstance(raw, str) or "\0" in raw:
        raise ValueError("a path, as text")
    try:
        return Path(base, Path(raw).expanduser()).absolute() if raw else None
    except RuntimeError:
        raise ValueError("a path; no home folder of that user is known here") from None


def existing_file(raw: Any, base: Path) -> Path | None:
    return _file(raw, base, pipe=False)


def file_or_pipe(raw: Any, base: Path) -> Path | None:
    """What is read once may come from another command: `--key-file <(...)`."""
    return _file(raw, base, pipe=True)


def _file(raw: Any, base: Path, *, pipe: bool) -> Path | None:
    value: Path | None = path(raw, base)
    if value is not None:
        mode = _mode(value, "a file that exists")
        if not (stat.S_ISREG(mode) or (pipe and stat.S_ISFIFO(mode))):
            raise ValueError("the path of a file that exists")
        if not os.access(value, os.R_OK):
            raise ValueError("the path of a file that this user can read")
    return value


def folder(raw: Any, base: Path) -> Path:
    value: Path | None = path(raw, base)
    if value is None or not stat.S_ISDIR(_mode(value, "a folder that exists; create it first")):
        raise ValueError("the path of a folder that exists; create it first")
    return value


def _mode(value: Path, what: str) -> int:
    """Raises ValueError where nothing is there, or nothing can be seen."""
    try:
        return value.stat().st_mode
    except OSError as error:
        raise ValueError(f"the path of {what} ({error.strerror})") from None


def shown(value: Any) -> str:
    """A value in a message: as it would be written in code, and no longer than helps."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
