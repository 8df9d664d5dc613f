"""Conversion of a table field by field, so that every error is found, not the first alone."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from node.spec.problems import Problems, escape, shown
from node.spec.raw import Name

S = TypeVar("S", bound=msgspec.Struct)

NOTHING: Mapping[str, Any] = MappingProxyType({})

_AT = re.compile(r" - at `\$?(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")


def convert_fields(
    shape: type[S], table: Any, pointer: str, problems: Problems, *, instead: Mapping[str, Any] = NOTHING
) -> S | None:
    """`table` as `shape`; wrong fields are left at their defaults and reported.

    `instead`: values for required fields that are missing or wrong; where one has none, the answer is None.
    """
    if not isinstance(table, dict):
        problems.add(pointer, f"expected a table, got {kind(table)}", value=table)
        return None
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    values = dict(instead)
    for key, value in table.items():
        if not isinstance(key, str) or key not in fields:
            problems.unknown_key(pointer, str(key), fields)
        else:
            ok, converted = _convert(fields[key].type, value, f"{pointer}/{escape(key)}", problems)
            if ok:
                values[fields[key].name] = converted
    for name, field in fields.items():
        if field.required and name not in table:
            problems.add(f"{pointer}/{escape(name)}", f"{name!r} is missing", remedy=f"add {name!r}")
    if any(field.required and field.name not in values for field in fields.values()):
        return None
    return shape(**values)


def _convert(type_: Any, value: Any, pointer: str, problems: Problems) -> tuple[bool, Any]:
    section = next((part for part in (type_, *get_args(type_)) if _is_struct(part)), None)
    if section is not None and value is not None:
        converted = convert_fields(section, value, pointer, problems)
        return converted is not None, converted
    try:
        return True, msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        explain(error, type_, value, pointer, problems)
    return False, None


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def explain(error: msgspec.ValidationError, type_: Any, value: Any, pointer: str, problems: Problems) -> None:
    """Put msgspec's one error on `value` into words for the user."""
    words = choices(type_)
    if words and isinstance(value, str):
        problems.unknown(pointer, "value", value, words)
        return
    if Name in (type_, *get_args(type_)) and isinstance(value, str):
        problems.add(
            pointer, f"{shown(value)!r} is not a name", value=value, allowed="[a-z0-9-], 1 to 63 of them"
        )
        return
    path, message = split(error)
    problems.add(pointer + path, message, value=None if path else value, allowed=words or None)


def split(error: msgspec.ValidationError) -> tuple[str, str]:
    """Msgspec's message as (JSON pointer of the place, what is wrong there)."""
    text = str(error)
    match = _AT.search(text)
    steps = list(_STEP.finditer(match["path"])) if match else []
    path = "".join("/" + escape(step["key"] or step["index"]) for step in steps)
    message = text[: match.start()] if match else text
    return path, (message[:1].lower() + message[1:]).replace("`", "")


def choices(type_: Any) -> list[str]:
    """The words of a Literal type, [] for any other."""
    for part in (type_, *get_args(type_)):
        if get_origin(part) is Literal:
            return [str(word) for word in get_args(part)]
    return []


def kind(value: Any) -> str:
    """What JSON calls the type of `value`."""
    names = {dict: "a table", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
