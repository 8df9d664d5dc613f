"""Which plugins this host has: name -> class, from entry points or put in by hand.

A plugin is named by one line in its package's metadata, in the group of its kind. Its module is imported when
it is first asked for. One that does not load, or does not have the shape of its kind, is *broken*: it is
reported with the reason, and the others go on. A name that is taken twice goes to this distribution, then to
the first distribution by name; the other is reported.
"""

import importlib.metadata
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from plugins.api import Effect, Permanent
from plugins.options import nearest, schema

OWN = "collect-node"
KINDS = ("collector", "sink", "transform", "cache")
METHODS = {
    "collector": ("initialize", "plan", "collect", "shutdown"),
    "sink": ("initialize", "open", "write", "commit", "publish", "shutdown"),
    "transform": ("initialize", "apply"),
    "cache": ("get", "put", "delete"),
}
MODES = {"collector": frozenset({"full"}), "sink": frozenset({"append"})}


class UnknownPlugin(Permanent):
    """No plugin of that name here, or a broken one: `suggestion` is the nearest name, `reason` why not."""

    code = "plugin"

    def __init__(self, kind: str, name: str, known: list[str], reason: str | None = None) -> None:
        self.kind, self.name, self.known, self.reason = kind, name, known, reason
        self.suggestion = None if reason else nearest(name, known)
        hint = f"; did you mean {self.suggestion}?" if self.suggestion else f"; there are: {', '.join(known)}"
        super().__init__(
            f"{kind} {name!r} does not load: {reason}" if reason else f"no {kind} is called {name!r}{hint}"
        )


class PluginInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What `/v1/plugins` says of one plugin. `error`: why it is broken; then only its names are known."""

    kind: str
    name: str
    version: str
    description: str = ""
    modes: list[str] = []
    effect: str | None = None
    sharded: bool = True
    inline: bool = False
    options: dict[str, Any] = {}
    error: str | None = None


class _Entry:
    """One name: how to get the class, and what came of it."""

    def __init__(self, load: Callable[[], Any], version: str | None) -> None:
        self.load = load
        self.distribution = version
        self.loaded: type[Any] | None = None
        self.error: str | None = None


class Registry:
    """Plugins by kind and name. An empty one is made by the constructor, the host's by `installed`."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._refused: list[PluginInfo] = []

    @classmethod
    def installed(cls, points: Iterable[importlib.metadata.EntryPoint] | None = None) -> "Registry":
        """What the environment's entry points name (or the given ones); nothing is imported yet."""
        registry = cls()
        for kind in KINDS:
            group = f"collect_node.{kind}s"
            found = importlib.metadata.entry_points(group=group) if points is None else points
            for point in sorted((p for p in found if p.group == group), key=_precedence):
                registry._register(kind, point)
        return registry

    def _register(self, kind: str, point: importlib.metadata.EntryPoint) -> None:
        package, version = _origin(point)
        if (kind, point.name) not in self._entries:
            self._entries[kind, point.name] = _Entry(point.load, version)
            return
        error = f"the name is taken by another package; {package or point.value} must choose another"
        self._refused.append(PluginInfo(kind=kind, name=point.name, version=version or "0", error=error))

    def add(self, kind: str, name: str, plugin: type[Any]) -> None:
        """Put a class in by hand. Raises ValueError if it does not have the shape of its kind."""
        if fault := fault_of(kind, plugin):
            raise ValueError(f"{kind} {name}: {fault}")
        self._entries[kind, name] = _Entry(lambda: plugin, None)

    def get(self, kind: str, name: str) -> type[Any]:
        """The class. Raises UnknownPlugin."""
        entry = self._entries.get((kind, name))
        if entry is None:
            raise UnknownPlugin(kind, name, self.names(kind))
        plugin = _loaded(kind, entry)
        if plugin is None:
            raise UnknownPlugin(kind, name, self.names(kind), entry.error)
        return plugin

    def find(self, kind: str, name: str) -> type[Any] | None:
        """The class, or None if there is none of that name that works."""
        entry = self._entries.get((kind, name))
        return None if entry is None else _loaded(kind, entry)

    def collector(self, name: str) -> type[Any]:
        return self.get("collector", name)

    def sink(self, name: str) -> type[Any]:
        return self.get("sink", name)

    def transform(self, name: str) -> type[Any]:
        return self.get("transform", name)

    def names(self, kind: str) -> list[str]:
        """The names of a kind, sorted; broken ones as well."""
        return sorted(name for of, name in self._entries if of == kind)

    def nearest(self, kind: str, name: str) -> str | None:
        return nearest(name, self.names(kind))

    def version(self, kind: str, name: str) -> str:
        """The class's own version if it has one, else that of its distribution, else "0"."""
        entry = self._entries[kind, name]
        own = getattr(_loaded(kind, entry), "version", None)
        return str(own or entry.distribution or "0")

    def versions(self) -> dict[str, str]:
        """`kind:name` -> version of every plugin that works; the plugin list of a node."""
        return {info.kind + ":" + info.name: info.version for info in self.describe() if info.error is None}

    def describe(self) -> list[PluginInfo]:
        """All plugins, by kind and name, the broken ones with their reason. Imports all of them."""
        known = [self._info(kind, name) for kind in KINDS for name in self.names(kind)]
        return known + self._refused

    def broken(self) -> list[PluginInfo]:
        return [info for info in self.describe() if info.error is not None]

    def _info(self, kind: str, name: str) -> PluginInfo:
        entry = self._entries[kind, name]
        plugin, version = _loaded(kind, entry), self.version(kind, name)
        if plugin is None:
            return PluginInfo(kind=kind, name=name, version=version, error=entry.error)
        effect = getattr(plugin, "effect", None)
        return PluginInfo(
            kind=kind,
            name=name,
            version=version,
            description=(plugin.__doc__ or "").strip().partition("\n")[0],
            modes=sorted(modes_of(kind, plugin)),
            effect=effect.value if isinstance(effect, Effect) else None,
            sharded=getattr(plugin, "sharded", True),
            inline=getattr(plugin, "inline", False),
            options=schema(plugin.Options),
        )


def modes_of(kind: str, plugin: type[Any]) -> frozenset[str]:
    """A collector's collection modes or a sink's write modes, with the contract's defaults."""
    return frozenset(getattr(plugin, "modes", MODES.get(kind, frozenset())))


def fault_of(kind: str, plugin: Any) -> str | None:
    """Why the class does not have the shape of its kind; None if it does."""
    if not isinstance(plugin, type):
        return f"{plugin!r} is not a class"
    options = getattr(plugin, "Options", None)
    if not (isinstance(options, type) and issubclass(options, msgspec.Struct)):
        return "it has no Options, a msgspec.Struct with its options"
    if not options.__struct_config__.forbid_unknown_fields:
        return "its Options lack forbid_unknown_fields=True, so a misspelt option would be no error"
    missing = [name for name in METHODS[kind] if not callable(getattr(plugin, name, None))]
    if missing:
        return f"it lacks {', '.join(missing)}"
    if kind == "sink" and not isinstance(getattr(plugin, "effect", None), Effect):
        return "it lacks effect, a plugins.api.Effect"
    return None


def _loaded(kind: str, entry: _Entry) -> type[Any] | None:
    if entry.loaded is None and entry.error is None:
        try:
            plugin = entry.load()
            entry.error = fault_of(kind, plugin)
            if entry.error is None:
                schema(plugin.Options)
                entry.loaded = plugin
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a third party's import does, the node goes on
            entry.error = f"{type(error).__name__}: {error}"
    return entry.loaded


def _precedence(point: importlib.metadata.EntryPoint) -> tuple[bool, str, str, str]:
    package, _ = _origin(point)
    return (package != OWN, package or "", point.name, point.value)


def _origin(point: importlib.metadata.EntryPoint) -> tuple[str | None, str | None]:
    """Name and version of the distribution that the entry point came with."""
    distribution = point.dist
    return (None, None) if distribution is None else (distribution.name, distribution.version)
