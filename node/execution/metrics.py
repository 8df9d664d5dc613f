"""What plugins count: plain sums per plugin and name."""

from collections import defaultdict

from plugins.api import Metrics


class Tally:
    """All counters of one process; `for_plugin` gives a plugin its own. Names are the plugins' business."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._views: dict[str, _View] = {}

    def for_plugin(self, plugin: str) -> Metrics:
        view = self._views.get(plugin)
        if view is None:
            view = self._views[plugin] = _View(self, plugin)
        return view

    def add(self, plugin: str, name: str, amount: int) -> None:
        counts = self._counts[plugin]
        counts[name] = counts.get(name, 0) + amount

    def merge(self, counts: dict[str, dict[str, int]]) -> None:
        for plugin, names in counts.items():
            for name, amount in names.items():
                self.add(plugin, name, amount)

    def snapshot(self) -> dict[str, dict[str, int]]:
        """Per plugin: name -> sum."""
        return {plugin: dict(names) for plugin, names in self._counts.items()}

    def drain(self) -> dict[str, dict[str, int]]:
        """The same, and start from nothing again."""
        counts = self.snapshot()
        self._counts.clear()
        return counts


class _View:
    __slots__ = ("_plugin", "_tally")

    def __init__(self, tally: Tally, plugin: str) -> None:
        self._tally = tally
        self._plugin = plugin

    def count(self, name: str, amount: int = 1) -> None:
        self._tally.add(self._plugin, name, amount)
