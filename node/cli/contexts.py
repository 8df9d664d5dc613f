"""Which nodes a command speaks to, and with which token.

Flag, then environment (`COLLECT_URL`, `COLLECT_TOKEN`), then a context, then http://127.0.0.1:8700.
A context that is only `current` counts where no node is named: its token goes to its own nodes.
Contexts stand in `~/.config/collect/contexts.toml`:

    current = "lab"
    [contexts.lab]
    urls = ["http://10.0.0.5:8700", "http://10.0.0.6:8700"]
    token_file = "~/.config/collect/lab.token"
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from node.cli.failures import USAGE, Failure

DEFAULT_URL = "http://127.0.0.1:8700"


class Target(msgspec.Struct, frozen=True):
    """The nodes to try, in this order, and the bearer token, if any."""

    urls: tuple[str, ...]
    token: str | None


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    urls: tuple[str, ...] = ()
    token_file: str | None = None


class Contexts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: str | None = None
    contexts: dict[str, Context] = {}


def target(
    urls: Sequence[str],
    token_file: Path | None,
    context: str | None,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """Raises Failure for a wrong URL, an unreadable token, an unknown context."""
    environ = os.environ if environ is None else environ
    from_environ = environ.get("COLLECT_URL", "").replace(",", " ").split()
    named = tuple(urls) or tuple(from_environ if context is None else ())
    chosen = Context() if named and context is None else _context(context, environ)
    found = named or chosen.urls or (DEFAULT_URL,)
    if token_file is not None:
        token: str | None = _token(token_file)
    else:
        token = environ.get("COLLECT_TOKEN") if context is None else None
        token = _usable(token, "COLLECT_TOKEN") if token else None
        token = token or (_token(Path(chosen.token_file).expanduser()) if chosen.token_file else None)
    return Target(tuple(_url(url) for url in found), token)


def _url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
        )
    except ValueError:
        usable = False
    if not usable:
        raise Failure(f'{text!r} is not the URL of a node, such as "{DEFAULT_URL}"', USAGE)
    return url.rstrip("/")


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"token file {path} cannot be read: {error}", USAGE) from None
    return _usable(token, f"token file {path}")


def _usable(token: str, where: str) -> str:
    """The token, if it can stand in a header. It is never shown."""
    if not (token and token.isascii() and token.isprintable()) or " " in token:
        raise Failure(f"{where} must hold one line with the token, and nothing else", USAGE)
    return token


def current(environ: Mapping[str, str] | None = None) -> str | None:
    """The context that counts where none is named. Raises Failure for a file that cannot be used."""
    return _contexts(_path(os.environ if environ is None else environ)).current


def every(environ: Mapping[str, str] | None = None) -> list[str]:
    """The names of all contexts, the current one first. Raises Failure where there is none."""
    path = _path(os.environ if environ is None else environ)
    found = _contexts(path)
    if not found.contexts:
        raise Failure(
            f"there are no contexts in {path}: each mesh is a table [contexts.NAME] with urls", USAGE
        )
    return sorted(found.contexts, key=lambda name: (name != found.current, name))


def _path(environ: Mapping[str, str]) -> Path:
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~"), ".config").expanduser())
    return config / "collect" / "contexts.toml"


def _context(name: str | None, environ: Mapping[str, str]) -> Context:
    path = _path(environ)
    found = _contexts(path)
    wanted = name or found.current
    if wanted is None:
        return Context()
    if wanted not in found.contexts:
        known = ", ".join(sorted(found.contexts)) or "none"
        raise Failure(f"no context {wanted!r} in {path} (known: {known})", USAGE)
    return found.contexts[wanted]


def _contexts(path: Path) -> Contexts:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(table, Contexts)
    except (FileNotFoundError, NotADirectoryError):
        return Contexts()
    except (OSError, ValueError) as error:
        raise Failure(f"{path}: {error}", USAGE) from None
