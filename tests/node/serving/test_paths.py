"""Which folders a task touches, as its plugins say."""

import msgspec

from node.schema import TaskSpec
from node.serving.overview import paths_of
from plugins.registry import Registry


def test_an_option_of_a_source_may_be_called_as_a_word_of_sinks() -> None:
    raw = {
        "mode": "full",
        "source": {"plugin": "sql", "path": "a.db", "query": "SELECT 1 AS k", "key": "k"},
        "sink": [{"plugin": "sqlite", "path": "b.db", "table": "t", "key": ["k"], "mode": "upsert"}],
    }
    assert paths_of(Registry.installed(), msgspec.convert(raw, TaskSpec)) == ["a.db", "b.db"]
