"""What a plugin's options may be: decoding with every error named, secrets by name, and their JSON Schema.

The good path is one `msgspec.convert`; only when that fails are the options walked field by field, so that
a person sees all errors at once. The data is what a task file holds for the plugin, without the keys that
belong to the host (`plugin`, `key`, `mode`).

Secrets. A field of type `Secret` accepts `{secret = NAME}` and nothing else; `MaybeSecret` takes plain text
as well. For the plugin both are a `str`: `decode` leaves the name there; `resolve`, called only where the
plugin runs, the value.
"""

import difflib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from plugins.api import CollectError, Retryable

Options = TypeVar("Options", bound=msgspec.Struct)
Path = tuple[str, ...]

MASK = "***"
MOST = 100
"""Errors that are told of one table of options: the rest of very many helps nobody, and finding them takes long."""
ANY = "*"
"""In a path: every item of a list, every value of a table."""

_NAMED = {
    "type": "object",
    "properties": {"secret": {"type": "string"}},
    "required": ["secret"],
    "additionalProperties": False,
}
Secret = Annotated[str, msgspec.Meta(extra={"secret": True}, extra_json_schema={"x-secret": True})]
"""A credential: `{secret = NAME}` in a task, a plain string for the plugin."""
MaybeSecret = Annotated[str, msgspec.Meta(extra={"secret": False}, extra_json_schema={"x-secret": False})]
"""Text that may be a credential: a plain string or `{secret = NAME}` in a task."""


class OptionProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One error: a JSON pointer below the plugin's options, the value ("***" for secrets), the remedy."""

    pointer: str
    message: str
    value: Any = None
    allowed: Any = None
    remedy: str | None = None


class InvalidOption(ValueError):
    """Raised by an `Options.__post_init__`: which field, why, what is allowed, the remedy."""

    def __init__(self, field: str, message: str, *, allowed: Any = None, remedy: str | None = None) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.allowed = allowed
        self.remedy = remedy


class OptionErrors(CollectError):
    """The options are not what the plugin takes; `problems` lists why, up to MOST reasons. Nothing was changed."""

    code = "options"

    def __init__(self, problems: list[OptionProblem]) -> None:
        super().__init__("; ".join(f"{p.pointer or '/'}: {p.message}" for p in problems))
        self.problems = problems


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)


def decode(kind: type[Options], data: Mapping[str, Any]) -> Options:
    """The options with secrets still as names. Raises OptionErrors with all problems."""
    return _convert(kind, data, lambda name: name)


def secrets(kind: type[msgspec.Struct], data: Mapping[str, Any]) -> list[str]:
    """The names of the secrets that the options use, sorted, each once. The data need not be valid."""
    names: dict[str, None] = {}

    def note(name: str) -> str:
        names[name] = None
        return name

    _substituted(kind, data, note)
    return sorted(names)


def resolve(kind: type[Options], data: Mapping[str, Any], lookup: Callable[[str], str | None]) -> Options:
    """The options with secrets as values. `lookup` gives a secret of this host; None raises Retryable."""

    def value(name: str) -> str:
        found = lookup(name)
        if found is None:
            raise Retryable(f"secret {name!r}: this node has no value for it", code="secret")
        return found

    return _convert(kind, data, value)


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the options, self-contained; secrets are `{"secret": NAME}` objects."""
    (top,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    own = parts.pop(str(top["$ref"]).rpartition("/")[2])
    whole: dict[str, Any] = _with_secrets({**own, "$defs": parts} if parts else own)
    return whole


def _with_secrets(node: Any) -> Any:
    """Msgspec says that a secret is a string; a task gives its name in an object."""
    if isinstance(node, list):
        return [_with_secrets(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "x-secret" in node:
        return _NAMED if node["x-secret"] else {"anyOf": [{"type": "string"}, _NAMED]}
    return {key: _with_secrets(value) for key, value in node.items()}


def _convert(kind: type[Options], data: Mapping[str, Any], secret: Callable[[str], str]) -> Options:
    plain, problems = _substituted(kind, data, secret)
    try:
        options = msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        found = itertools.chain(problems, _problems(kind, plain, "", error))
        raise OptionErrors(list(itertools.islice(found, MOST))) from None
    if problems:
        raise OptionErrors(problems[:MOST])
    return options


@functools.lru_cache(maxsize=256)
def _secret_paths(kind: Any) -> tuple[tuple[Path, bool], ...]:
    """Where a type holds secrets, and whether plain text is refused there."""
    return tuple(_find_secrets(kind, ()))


def _find_secrets(kind: Any, at: Path) -> Iterator[tuple[Path, bool]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield from _find_secrets(field.type, (*at, field.encode_name))
        return
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and "secret" in (meta.extra or {}):
            yield at, bool(meta.extra and meta.extra["secret"])
            return
    inner = (*at, ANY) if get_origin(kind) in (dict, list, tuple) else at
    for part in get_args(kind):
        yield from _find_secrets(part, inner)


def _substituted(
    kind: type[msgspec.Struct], data: Mapping[str, Any], secret: Callable[[str], str]
) -> tuple[Any, list[OptionProblem]]:
    """The data with each `{secret: NAME}` replaced; what is no name where one must be is reported."""
    problems: list[OptionProblem] = []
    plain: Any = data
    for path, strict in _secret_paths(kind):
        plain = _replace(plain, path, "", functools.partial(_named, strict, secret, problems))
    return plain, problems


def _replace(data: Any, path: Path, at: str, change: Callable[[Any, str], Any]) -> Any:
    """A copy of `data`, changed at the path; what does not lead on along the path is left as it is."""
    if not path:
        return change(data, at)
    step, rest = path[0], path[1:]
    if isinstance(data, Mapping):
        keys = list(data) if step == ANY else [step] if step in data else []
        return {
            **data,
            **{key: _replace(data[key], rest, f"{at}/{_escape(str(key))}", change) for key in keys},
        }
    if isinstance(data, list) and step == ANY:
        return [_replace(item, rest, f"{at}/{index}", change) for index, item in enumerate(data)]
    return data


def _named(
    strict: bool,  # noqa: FBT001 -- bound by partial
    secret: Callable[[str], str],
    problems: list[OptionProblem],
    value: Any,
    at: str,
) -> Any:
    if isinstance(value, dict) and len(value) == 1 and isinstance(name := value.get("secret"), str) and name:
        return secret(name)
    if value is None or (not strict and isinstance(value, str)):
        return value
    problems.append(
        OptionProblem(
            pointer=at,
            message="a secret is given by name only",
            value=MASK,
            allowed="{secret = NAME}",
            remedy="store the value as a secret on the nodes and give its name here",
        )
    )
    return MASK


def _problems(
    kind: type[msgspec.Struct], data: Any, at: str, error: msgspec.ValidationError
) -> Iterator[OptionProblem]:
    """Every error of one struct; `error`, of converting the whole, is told if no field explains it."""
    if not isinstance(data, Mapping):
        yield OptionProblem(pointer=at, message=f"must be a table, not {_kind_name(data)}", value=data)
        return
    found = _in_fields(kind, data, at)
    yield next(found, None) or _refused(at, data, error)
    yield from found


def _in_fields(kind: type[msgspec.Struct], data: Mapping[str, Any], at: str) -> Iterator[OptionProblem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, value in data.items():
        if key not in fields:
            yield _unknown(at, key, value, fields)
    for name, field in fields.items():
        if name in data:
            yield from _check(field.type, data[name], f"{at}/{_escape(name)}")
        elif field.required:
            yield OptionProblem(pointer=f"{at}/{_escape(name)}", message="is missing", remedy=f"add {name}")


def _refused(at: str, data: Mapping[str, Any], error: msgspec.ValidationError) -> OptionProblem:
    cause = error.__cause__
    if not isinstance(cause, InvalidOption):
        return OptionProblem(pointer=at, message=_message(error))
    return OptionProblem(
        pointer=f"{at}/{_escape(cause.field)}",
        message=cause.message,
        value=masked(data.get(cause.field)),
        allowed=cause.allowed,
        remedy=cause.remedy,
    )


def _unknown(at: str, key: Any, value: Any, known: Iterable[str]) -> OptionProblem:
    names = sorted(known)
    near = nearest(str(key), names)
    return OptionProblem(
        pointer=f"{at}/{_escape(str(key))}",
        message="is not an option of this plugin",
        value=masked(value),
        allowed=names,
        remedy=f"did you mean {near}?" if near else f"remove {key}",
    )


def _check(kind: Any, value: Any, at: str) -> Iterator[OptionProblem]:
    """The errors of one value; goes into structs, lists and dicts so that each error has its own pointer."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found = _inside(kind, value, at, error)
        yield next(found, None) or _wrong(kind, value, at, error)
        yield from found


def _inside(kind: Any, value: Any, at: str, error: msgspec.ValidationError) -> Iterator[OptionProblem]:
    for part in _alternatives(kind):
        origin, arguments = get_origin(part), get_args(part)
        if isinstance(part, type) and issubclass(part, msgspec.Struct) and isinstance(value, Mapping):
            yield from _problems(part, value, at, error)
            return
        if origin is dict and isinstance(value, Mapping):
            for key, item in value.items():
                yield from _check(arguments[1], item, f"{at}/{_escape(str(key))}")
        elif origin in (list, tuple) and isinstance(value, list) and arguments:
            for index, item in enumerate(value):
                yield from _check(arguments[0], item, f"{at}/{index}")


def _wrong(kind: Any, value: Any, at: str, error: msgspec.ValidationError) -> OptionProblem:
    description = msgspec.json.schema(kind)
    allowed = description.get("enum") or description.get("type")
    if allowed is None:
        allowed = [part.get("type") for part in description.get("anyOf", ()) if part.get("type")] or None
    return OptionProblem(pointer=at, message=_message(error), value=masked(value), allowed=allowed)


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union without the metadata of `Annotated`; the type itself where it is no union."""
    if hasattr(kind, "__metadata__"):
        return _alternatives(kind.__origin__)
    if get_origin(kind) in (dict, list, tuple) or not get_args(kind):
        return (kind,)
    return tuple(inner for part in get_args(kind) for inner in _alternatives(part))


def masked(value: Any) -> Any:
    """The value as it may be shown: what a credential could hide in (anything under `secret`) is masked."""
    if isinstance(value, Mapping):
        return {key: MASK if key == "secret" else masked(item) for key, item in value.items()}
    return value


def _message(error: msgspec.ValidationError) -> str:
    return str(error).partition(" - at `")[0]


def _kind_name(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _escape(part: str) -> str:
    """A JSON pointer token (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
