"""Plugins of no effect whose options have every form that the checks must know."""

from typing import Any, ClassVar, Literal

import msgspec

from node.service import Facts
from plugins.api import Effect
from plugins.options import Secret
from plugins.registry import Registry


class FileOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    path: str
    delimiter: str = ","
    on_bad_line: Literal["skip", "fail"] = "skip"
    batch: int = 10


class ApiOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    url: str
    password: Secret | None = None
    headers: dict[str, Secret] = {}


class Inert:
    """All methods of all kinds; none is called by the checks."""

    effect = Effect.EXACTLY_ONCE

    async def initialize(self, context: Any) -> None: ...
    async def plan(self, request: Any) -> list[Any]:
        return []

    async def collect(self, context: Any) -> None: ...
    async def open(self, context: Any) -> None: ...
    async def write(self, batch: Any) -> None: ...
    async def commit(self, expected: Any, to: Any) -> None: ...
    async def publish(self, run: Any) -> None: ...
    async def shutdown(self) -> None: ...
    def apply(self, batch: Any) -> Any: ...


class Files(Inert):
    Options = FileOptions
    modes = frozenset({"full", "range", "incremental"})

    @staticmethod
    def paths(options: FileOptions) -> tuple[str, ...]:
        return (options.path,)


class Api(Inert):
    Options = ApiOptions


class Store(Inert):
    Options = FileOptions
    modes = frozenset({"append", "upsert"})
    paths = staticmethod(Files.paths)


class Log(Inert):
    class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
        quiet: bool = True


class Rename(Inert):
    class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
        fields: dict[str, str]

    modes: ClassVar[frozenset[str]] = frozenset()


def registry() -> Registry:
    made = Registry()
    made.add("collector", "files", Files)
    made.add("collector", "api", Api)
    made.add("sink", "store", Store)
    made.add("sink", "log", Log)
    made.add("transform", "rename", Rename)
    return made


def facts(**changes: Any) -> Facts:
    known = Facts(
        roots={"default": False, "lake": True},
        secrets=frozenset({"API_PASSWORD"}),
        nodes=frozenset({"aaaa", "berlin"}),
        replicas=3,
    )
    return msgspec.structs.replace(known, **changes)
