"""Secret values of this node: found by name at the last moment, and kept out of everything that is said.

A spec holds `{secret = "NAME"}`. The value is the environment's `COLLECT_SECRET_NAME` or the file
`secrets/NAME` in the data directory, which only its owner may read.
"""

import base64
import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from plugins.api import Permanent, Retryable
from plugins.options import MASK

PREFIX = "COLLECT_SECRET_"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
TELLING = 4
"""Characters of a secret that tell something of it; shorter pieces are in every text."""


class Secrets:
    """`folder`: where the files lie (`<data dir>/secrets`); None: only the environment is asked."""

    def __init__(self, folder: Path | None, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._environment = os.environ if environment is None else environment

    def names(self) -> frozenset[str]:
        """The names that this node has a value for. Values are not read."""
        found = {key[len(PREFIX) :] for key in self._environment if key.startswith(PREFIX)}
        if self.folder is not None:
            with contextlib.suppress(OSError):  # a folder that this user may not read holds nothing for it
                found.update(entry.name for entry in self.folder.iterdir() if _NAME.fullmatch(entry.name))
        return frozenset(found)

    def get(self, name: str) -> str:
        """The value. Raises Retryable (code "secret"; it may be added, or another node may have it) that
        names the secret and the remedy; Permanent for what cannot be the name of one.
        """
        if not _NAME.fullmatch(name):
            raise Permanent(
                f"secret {name!r}: not a name; use letters, digits, _ . - (at most 64)", code="secret"
            )
        value = self._environment.get(PREFIX + name)
        if value is None and self.folder is not None:
            value = _read(self.folder / name, name)
        if not value:
            raise _refusal(
                f"secret {name!r}: this node has no value for it; set {PREFIX}{name}, "
                f"or put it into secrets/{name} in the data directory (mode 0600)"
            )
        return value


def _read(path: Path, name: str) -> str | None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise _refusal(
                f"secret {name!r}: secrets/{name} may be read by others (mode {mode:04o}); chmod 600 it"
            )
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _refusal(f"secret {name!r}: secrets/{name} cannot be read ({type(error).__name__})") from None


def _refusal(message: str) -> Retryable:
    return Retryable(message, code="secret")


def scrub(text: str, values: Iterable[str]) -> str:
    """`text` without any of the secret values, also as they stand in an address, in JSON, in other case or within
    Base64 (`Authorization: Basic`), and without the beginning of one where the text was cut.
    """
    secrets = frozenset(values)
    if not secrets:
        return text
    text = _everywhere(secrets).sub(MASK, text)
    for value in secrets:
        for length in range(min(len(value) - 1, len(text)), TELLING - 1, -1):
            if text.endswith(value[:length]):
                return text[:-length] + MASK
    return text


@lru_cache(maxsize=64)
def _everywhere(values: frozenset[str]) -> re.Pattern[str]:
    """All forms of all values; the longest first, lest a part of one stays."""
    forms = {form for value in values for form in _forms(value)}
    return re.compile("|".join(sorted(forms, key=lambda form: (-len(form), form))))


def _forms(value: str) -> Iterator[str]:
    address = {quote(value), quote(value, safe=""), quote_plus(value)}
    for form in {value, *address, json.dumps(value)[1:-1], repr(value)[1:-1]}:
        yield f"(?i:{re.escape(form)})" if len(form) > TELLING else re.escape(form)
    data = value.encode("utf-8", "surrogatepass")
    for before in range(3):  # of the bytes that stand before it within a group of three
        known = (before + len(data)) // 3 * 4
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            inner = encode(b"\0" * before + data).decode()[(0, 2, 3)[before] : known]
            if len(inner) > TELLING:
                yield re.escape(inner)


def clean(text: str) -> str:
    """`text` as it can be stored: without halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode()


def scrub_record(record: Any, values: Iterable[str]) -> Any:
    """A JSON value with the secret values taken out of all its strings, keys as well."""
    if isinstance(record, str):
        return scrub(record, values)
    if isinstance(record, dict):
        return {scrub_record(key, values): scrub_record(value, values) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [scrub_record(item, values) for item in record]
    return record
