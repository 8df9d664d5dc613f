"""What reads bytes from outside, each as a function of bytes that raises nothing.

A target calls the decoder and takes only the error that its docstring promises; anything else comes out and
is a find. The hypothesis tests and the coverage-guided runs share them.
"""

import io
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from gossip.codec import Packet
from gossip.codec import unpack as gossip_unpack
from gossip.effects import Received, Tick
from gossip.errors import Malformed as GossipMalformed
from gossip.identity import NodeId
from node import config, durations, messages, schedules
from node.config_sources import ConfigError
from node.security import roster, token
from node.security.exchange import Exchange
from node.spec import InvalidSpec, SpecChecker
from node.transport import hello as joining
from node.transport.introduce import _read
from plugins.collectors.csv import CsvCollector
from plugins.collectors.http import HttpCollector
from plugins.collectors.sql import SqlCollector
from plugins.options import OptionErrors, decode
from plugins.sinks.jsonl import JsonlSink
from state import envelope, model
from state.document import Document
from state.index import UNREADABLE
from state.prepass import Malformed, inspect
from tests.fuzz.acceptance import Life
from tests.gossip.peers import acquainted, machine
from tests.node.plugs import facts, registry

Target = Callable[[bytes], None]


def message(data: bytes) -> None:
    try:
        decoded = messages.decode(data)
    except messages.BadMessage:
        return
    assert isinstance(decoded, messages.Message)


def gossip(data: bytes) -> None:
    """The codec, and the machine behind it."""
    try:
        assert isinstance(gossip_unpack(data), Packet)
    except GossipMalformed:
        pass
    swim = machine()
    acquainted(swim, "a", "b")
    swim.handle(Received(NodeId("a"), data), 1.0)
    swim.handle(Tick(), 60.0)


def envelopes(data: bytes) -> None:
    try:
        item = envelope.decode(data)
    except envelope.BadEnvelope:
        return
    assert envelope.decode(envelope.encode(item)) == item


def update(data: bytes) -> None:
    """The pre-pass and the document; what is taken can be encoded again."""
    document = Document(8)
    try:
        shape = inspect(data)
    except Malformed:
        shape = None
    try:
        document.apply(data, author="a.1")
    except Malformed:
        assert len(document) == 0
        return
    assert shape is not None
    document._doc.get_update()


def fact(data: bytes) -> None:
    kind = chr(data[0]) if data else "?"
    try:
        model.decode(f"{kind}|p|0|r|a.1", data[1:])
    except UNREADABLE:
        return


def acceptance(data: bytes) -> None:
    """The bytes choose what the hostile authors do."""
    Life(_Chosen(data)).run(4)


class _Chosen(random.Random):
    """Chance drawn from given bytes, then zeros: so that a guided fuzzer steers each decision."""

    def __new__(cls, data: bytes) -> Self:
        return super().__new__(cls)

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = io.BytesIO(data)

    def random(self) -> float:
        return self.getrandbits(32) / 2**32

    def getrandbits(self, k: int, /) -> int:
        read = self._data.read(-(-k // 8))
        if not read:
            return super().getrandbits(k)
        return int.from_bytes(read, "little") & ((1 << k) - 1)


def hello(data: bytes) -> None:
    """What a join server does with a body, and a newcomer with the answer."""
    try:
        said = joining.decode_hello(data)
        said.entry.check()
    except (*joining.UNREADABLE, roster.BadRoster):
        pass
    try:
        _read(data)
    except joining.JoinFailed:
        pass


def rosters(data: bytes) -> None:
    for read in (roster.decode, Exchange(roster.Roster()).receive):
        try:
            read(data)
        except roster.BadRoster:
            pass
    try:
        token.parse_token(data.decode("latin-1"))
    except token.BadToken:
        pass


def spec(data: bytes) -> None:
    """A task's specification: canonical bytes that decode, or errors that each name where."""
    checker = SpecChecker(registry(), facts())
    try:
        checked = checker.check_line(data)
    except InvalidSpec as error:
        assert error.items
        assert all(item.message for item in error.items)
        return
    again = checker.check_line(checked.data)
    assert again.data == checked.data, "the canonical form is not canonical"


def amounts(data: bytes) -> None:
    """Durations, sizes, rates, schedules and time zones as text or number."""
    text: Any = data.decode("utf-8", "surrogateescape")
    calls: list[Callable[[Any], Any]] = [durations.duration, durations.size, durations.rate]
    texts: list[Callable[[Any], Any]] = [*calls, schedules.zone, schedules.check_schedule]
    for call in texts:
        try:
            call(text)
        except ValueError as error:
            assert str(error)
    try:
        number = float(text)
    except ValueError:
        return
    for call in calls:
        try:
            assert call(number) >= 0
        except ValueError as error:
            assert str(error)


def toml(data: bytes) -> None:
    """node.toml, and the environment: every mistake with its place."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "node.toml"
        path.write_bytes(data)
        text = data.decode("utf-8", "replace").replace("\x00", "")
        for file, environ in ((path, {}), (None, {"COLLECT_NODE__NAME": text, "COLLECT_MESH__SEEDS": text})):
            try:
                config.load(file, environ, {}, cwd=Path(folder))
            except ConfigError as error:
                assert error.items
                assert all(item.where and item.message for item in error.items)


def options(data: bytes) -> None:
    """Options of plugins, as JSON objects."""
    try:
        value = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(value, dict):
        return
    for plugin in (CsvCollector, HttpCollector, SqlCollector, JsonlSink):
        try:
            decode(plugin.Options, value)
        except OptionErrors as error:
            assert error.problems
            assert all(problem.message for problem in error.problems)


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        message,
        gossip,
        envelopes,
        update,
        fact,
        acceptance,
        hello,
        rosters,
        spec,
        amounts,
        toml,
        options,
    )
}


if __name__ == "__main__":
    print(*TARGETS)
