"""The plugins that a task names: they exist, take these options, can do this mode, find here what they need.

The table of a source, sink or transform holds the plugin's options beside the host's own keys.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.service import Facts
from node.spec import paths as places
from node.spec.fields import kind
from node.spec.problems import MASK, Problems, shown
from node.spec.raw import Plugged
from plugins.options import InvalidOption, OptionErrors, OptionProblem, decode, secrets
from plugins.registry import Registry, UnknownPlugin, modes_of

SINK_MODES = ("append", "replace", "upsert")
HOST_KEYS = {
    "source": frozenset({"plugin"}),
    "transform": frozenset({"plugin"}),
    "sink": frozenset({"plugin", "key", "mode"}),
}
KINDS = {"source": "collector", "sink": "sink", "transform": "transform"}


@dataclasses.dataclass(slots=True)
class PluginChecker:
    """Checks tables against the installed plugins and the facts of the mesh.

    `placed`: the task says where it runs, which may be elsewhere, so roots and files here prove nothing.
    """

    registry: Registry
    facts: Facts

    def check(
        self, role: str, table: Any, pointer: str, problems: Problems, *, placed: bool
    ) -> type[Any] | None:
        """The plugin's class; None where it cannot be told. `role`: source, sink or transform."""
        if problems.full:
            return None
        if not isinstance(table, dict):
            problems.add(pointer, f"expected a table, got {kind(table)}")
            return None
        plugin = self._find(role, table, pointer, problems)
        if plugin is None:
            return None
        given = {key: value for key, value in table.items() if key not in HOST_KEYS[role]}
        try:
            options = decode(plugin.Options, given)
        except OptionErrors as error:
            for told in error.problems:
                _report(told, pointer, problems)
            return plugin
        self._check_secrets(plugin, given, pointer, problems)
        self._check_paths(role, plugin, options, pointer, problems, placed=placed)
        return plugin

    def check_source(self, table: Any, mode: str, problems: Problems, *, placed: bool) -> None:
        plugin = self.check("source", table, "/source", problems, placed=placed)
        if plugin is None:
            return
        modes = modes_of("collector", plugin)
        if mode not in modes and not problems.spoiled("/mode"):
            problems.add(
                "/mode",
                f"the collector {table['plugin']!r} cannot collect in this mode",
                value=mode,
                allowed=sorted(modes),
            )

    def check_sink(self, table: Any, mode: str, pointer: str, problems: Problems, *, placed: bool) -> None:
        plugin = self.check("sink", table, pointer, problems, placed=placed)
        if plugin is None:
            return
        _check_sink_keys(plugin, table, pointer, problems)
        if mode == "incremental" and table.get("key") and table.get("mode") == "append":
            # For keyed sinks a run reads from the cursor itself, so that no tie is lost.
            problems.add(
                f"{pointer}/key",
                "the sink appends, so it would keep the records at the cursor twice",
                allowed='mode = "upsert"' if "upsert" in modes_of("sink", plugin) else "no key",
                remedy='use mode = "upsert" (where the sink can), or leave out key',
            )

    def _find(self, role: str, table: Plugged, pointer: str, problems: Problems) -> type[Any] | None:
        name = table.get("plugin")
        if not isinstance(name, str):
            problem = "'plugin' is missing" if name is None else f"expected a string, got {kind(name)}"
            problems.add(f"{pointer}/plugin", problem, allowed=self.registry.names(KINDS[role]))
            return None
        plugin = self.registry.find(KINDS[role], name)
        if plugin is None:
            self._report_unknown(role, name, pointer, problems)
        return plugin

    def _report_unknown(self, role: str, name: str, pointer: str, problems: Problems) -> None:
        try:
            self.registry.get(KINDS[role], name)
        except UnknownPlugin as error:
            if error.reason is None:
                problems.unknown(f"{pointer}/plugin", KINDS[role], name, error.known)
            else:
                problems.add(
                    f"{pointer}/plugin",
                    str(error),
                    value=name,
                    remedy="install it again, or see the node's log",
                )

    def _check_secrets(self, plugin: Any, given: Plugged, pointer: str, problems: Problems) -> None:
        if not any(isinstance(value, dict | list) for value in given.values()):
            return  # a secret is a table, so there is none
        for name in secrets(plugin.Options, given):
            if name not in self.facts.secrets:
                problems.add(
                    pointer,
                    f"no live node has the secret {shown(name)!r}",
                    allowed=sorted(self.facts.secrets),
                    remedy=f"set COLLECT_SECRET_{name}, or write secrets/{name} in a node's data directory",
                )

    def _check_paths(
        self, role: str, plugin: Any, options: Any, pointer: str, problems: Problems, *, placed: bool
    ) -> None:
        paths: Callable[[Any], tuple[str, ...]] | None = getattr(plugin, "paths", None)
        for path in paths(options) if paths is not None else ():
            place = f"{pointer}/path" if getattr(options, "path", None) == path else pointer
            root, relative = places.split_path(path)
            if (excess := places.excess(relative)) is not None:
                problems.add(place, excess, value=path, remedy="give a shorter one")
            elif placed:
                continue
            elif root not in self.facts.roots:
                self._unknown_root(root, path, place, problems)
            elif places.outside(relative):
                problems.add(
                    place,
                    "lies outside its root",
                    value=path,
                    remedy="name it relative to a root: root:relative",
                )
            elif (folder := self.facts.folders.get(root)) is None:
                continue
            elif role == "source" and not places.exists(folder, relative):
                problems.add(place, f"there is no such file in the root {root!r}", value=path)
            elif role == "source":
                self._check_content(plugin, options, (folder, relative), pointer, problems)
            elif role == "sink" and (obstacle := places.obstacle(folder, relative)) is not None:
                problems.add(
                    place,
                    f"{obstacle} in the root {root!r} cannot be written by this node",
                    value=path,
                    remedy="name another path, or give the node's user the right to write there",
                )

    def _unknown_root(self, root: str, path: str, place: str, problems: Problems) -> None:
        remedy = f"declare [roots.{root}] with its path in node.toml"
        problems.add(
            place,
            f"this node has no root {shown(root)!r}",
            value=path,
            allowed=sorted(self.facts.roots),
            remedy=remedy,
        )

    def _check_content(
        self, plugin: Any, options: Any, where: tuple[str, str], pointer: str, problems: Problems
    ) -> None:
        """Has the plugin look at the files that are here; the first that it refuses is the one told. `where`: folder
        of the root, path in it.
        """
        refuse: Callable[[Any, Path], None] | None = getattr(plugin, "refuse", None)
        if refuse is None:
            return
        for file in places.files(*where):
            try:
                refuse(options, file)
            except InvalidOption as error:
                problems.add(
                    f"{pointer}/{error.field}",
                    f"{file.name} {error.message}" if places.is_pattern(where[1]) else error.message,
                    value=getattr(options, error.field),
                    allowed=error.allowed,
                    remedy=error.remedy,
                )
                return
            except OSError:
                continue  # the run says so, and where


def _report(told: OptionProblem, pointer: str, problems: Problems) -> None:
    unknown = told.message.startswith("is not an option")
    problems.add(
        pointer + told.pointer,
        told.message,
        value=MASK if unknown else told.value,  # a misspelt secret is a secret
        allowed=told.allowed,
        remedy=told.remedy,
    )


def _check_sink_keys(plugin: Any, table: Plugged, pointer: str, problems: Problems) -> None:
    """Key and mode of a sink; writes the mode into the table where it is not append for want of a key."""
    key, modes = table.get("key"), modes_of("sink", plugin)
    if key is not None and not (
        isinstance(key, list) and all(isinstance(name, str) and name for name in key)
    ):
        problems.add(f"{pointer}/key", "must be a list of field names", remedy='key = ["id"]')
        return
    mode = table.get("mode")
    if mode is None:
        mode = "upsert" if key and "upsert" in modes else "append"
    if not isinstance(mode, str) or mode not in modes:
        _refuse_mode(mode, modes, table["plugin"], pointer, problems)
    elif mode == "upsert" and not key:
        problems.add(
            f"{pointer}/key",
            "upsert needs a key",
            remedy='add key = ["..."], the fields that identify a record',
        )
    table.pop("mode", None)
    if key or mode != "append":
        table["mode"] = mode


def _refuse_mode(mode: Any, modes: frozenset[str], plugin: str, pointer: str, problems: Problems) -> None:
    if isinstance(mode, str) and mode in SINK_MODES:
        problems.add(
            f"{pointer}/mode", f"the sink {plugin!r} cannot do this", value=mode, allowed=sorted(modes)
        )
    else:
        problems.unknown(f"{pointer}/mode", "mode", str(mode), modes)
