"""In which region a new task is at home, and how near a node is to a target."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from gossip.identity import NodeId
from gossip.member import Member
from node.api.problems import refuse
from node.service import Refused
from node.serving.calls import Calls
from node.serving.homes import GAIN, Homes, nearest, pinned, target_of
from node.serving.nearness import MAX_REMEMBERED, REMEMBERED, Nearness, Remembered
from node.serving.routes import Routes
from plugins.http import NetworkRules
from sharding.key import parse
from tests.node.stewardship.desk import Desk, member, settle

LOOPBACK = NetworkRules(allow=["127.0.0.0/8"])


def spec(url: str = "https://api.example.com/v1", **more: Any) -> bytes:
    return json.dumps(
        {"source": {"plugin": "http", "url": url}, "sink": [{"plugin": "jsonl"}], **more}
    ).encode()


def abroad(name: str, region: str) -> Member:
    there = member(name)
    return msgspec.structs.replace(there, meta=msgspec.structs.replace(there.meta, region=region))


@pytest.mark.parametrize(
    ("seconds", "home"),
    [
        ({"eu": 0.2, "us": 0.01}, "us"),
        ({"eu": 0.010, "us": 0.009}, "eu"),  # within the noise
        ({"eu": 0.004, "us": 0.001}, "eu"),  # nothing gained
        ({"eu": None, "us": 0.9}, "us"),  # only from there
        ({"eu": None, "us": None}, "eu"),
        ({"eu": 0.3, "us": 0.2, "ap": 0.1}, "ap"),
        ({"eu": 0.05}, "eu"),
    ],
)
def test_another_region_must_be_clearly_nearer(seconds: dict[str, float | None], home: str) -> None:
    assert nearest("eu", seconds) == home


def test_the_target_is_the_host_that_all_name() -> None:
    assert target_of([spec(), spec("https://api.example.com/v2")]) == ("api.example.com", 443)
    assert target_of([spec("http://a.example:8080/x")]) == ("a.example", 8080)
    assert target_of([spec(), spec("https://b.example")]) is None
    assert target_of([b'{"source":{"plugin":"csv","path":"a.csv"},"sink":[{"plugin":"jsonl"}]}']) is None
    assert target_of([spec("no url at all")]) is None
    assert target_of([spec()] * 501) is None


def test_a_submit_is_pinned_where_all_name_one_region() -> None:
    eu, us = spec(placement={"region": "eu"}), spec(placement={"region": "us"})
    assert (pinned([eu, eu]), pinned([eu, us]), pinned([spec()])) == ("eu", None, None)


class Wire(Calls):
    """What other nodes answer."""

    def __init__(self, seconds: dict[str, float | None]) -> None:
        super().__init__(lambda _to, _message: True, {})
        self.seconds = seconds
        self.asked: list[str] = []
        self.silent = False

    async def call(self, to: NodeId, operation: str, arguments: dict[str, Any], *, timeout: float) -> Any:  # noqa: ASYNC109
        assert (operation, sorted(arguments), timeout > 0) == ("nearness", ["host", "port"], True)
        self.asked.append(to)
        if self.silent:
            await asyncio.Event().wait()
        return self.seconds[{"b": "eu", "c": "us"}[to]]


class Near(Nearness):
    def __init__(self, own: float | None) -> None:
        super().__init__(LOOPBACK)
        self._own = own

    async def seconds(self, host: str, port: int) -> float | None:
        assert (host, port) == ("api.example.com", 443)
        return self._own


class Mesh:
    """One node of region `local`, and what it hears of two others."""

    def __init__(self, seconds: dict[str, float | None], *, known: str | None = None) -> None:
        self.desk = Desk("a")
        self.desk.join(member("a"), abroad("b", "eu"), abroad("c", "us"))
        settle(self.desk)
        self._known = known
        self.wire = wire = Wire(seconds)
        self.asked = wire.asked
        self.homes = Homes(self.desk.core, Routes(self.desk.core), wire, Near(seconds["local"]))

    async def _look(self, _slot: int, _operation: str, arguments: dict[str, Any]) -> Any:
        task = parse(arguments["id"])
        assert task is not None
        if task.region != self._known:
            raise refuse(404, "not-found", "it is not there")

    async def home(self, raw: bytes, name: str | None = None, *, tied: bool = False) -> str:
        return await self.homes.home([raw], name, "default", self._look, tied=tied)


async def test_a_task_goes_to_the_region_nearest_its_target() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1})
    assert await mesh.home(spec()) == "eu"
    assert mesh.asked == ["b", "c"]
    assert await mesh.home(spec()) == "eu"
    assert mesh.asked == ["b", "c"], "the second time it is remembered"


async def test_a_target_next_door_is_at_home_before_others_have_answered() -> None:
    mesh = Mesh({"local": GAIN / 2, "eu": 0.0, "us": 0.0})
    mesh.wire.silent = True
    async with asyncio.timeout(5):
        assert await mesh.home(spec()) == "local"


async def test_a_pinned_task_goes_where_it_is_pinned() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1})
    assert await mesh.home(spec(placement={"region": "us"})) == "us"
    assert mesh.asked == []


async def test_a_named_task_stays_where_it_is() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1}, known="us")
    assert await mesh.home(spec(name="weather"), "weather") == "us"
    assert mesh.asked == []


async def test_all_regions_are_asked_at_once_for_a_name() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1})
    all_asked = asyncio.Barrier(3)

    async def look(_slot: int, _operation: str, _arguments: dict[str, Any]) -> Any:
        await all_asked.wait()
        raise refuse(404, "not-found", "it is not there")

    async with asyncio.timeout(5):
        assert await mesh.homes.named("weather", "default", look) is None


async def test_the_own_region_is_not_kept_waiting_by_the_others_for_a_name() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1})

    async def look(_slot: int, _operation: str, arguments: dict[str, Any]) -> Any:
        if not arguments["id"].startswith("local-"):
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        found = await mesh.homes.named("weather", "default", look)
    assert found is not None
    assert found.region == "local"


async def test_a_name_is_found_although_another_region_does_not_answer() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1}, known="us")

    async def look(slot: int, operation: str, arguments: dict[str, Any]) -> Any:
        if arguments["id"].startswith("eu-"):
            raise refuse(503, "no-replica", "nobody answered")
        return await mesh._look(slot, operation, arguments)

    found = await mesh.homes.named("weather", "default", look)
    assert found is not None
    assert found.region == "us"


async def test_a_name_is_not_said_to_be_free_while_a_region_does_not_answer() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1})

    async def look(slot: int, operation: str, arguments: dict[str, Any]) -> Any:
        if arguments["id"].startswith("eu-"):
            raise refuse(503, "no-replica", "nobody answered")
        return await mesh._look(slot, operation, arguments)

    with pytest.raises(Refused, match="nobody answered"):
        await mesh.homes.named("weather", "default", look)


async def test_a_task_that_pauses_in_a_cut_goes_nowhere_where_too_few_vote() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1})
    leases = mesh.desk.core.leases
    assert await mesh.home(spec(on_partition="pause")) == "local"
    leases.maps.active = [leases.maps.made([(f"e{n}", 1.0, "eu/") for n in range(3)])]
    assert await mesh.home(spec(on_partition="pause")) == "eu"


async def test_a_task_that_needs_this_machine_stays() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1})
    assert await mesh.home(spec(), tied=True) == "local"
    assert mesh.asked == []


async def test_a_task_without_a_target_stays_in_the_region_that_was_asked() -> None:
    mesh = Mesh({"local": 0.2, "eu": 0.02, "us": 0.1})
    assert await mesh.home(b'{"source":{"plugin":"csv","path":"a"},"sink":[{"plugin":"jsonl"}]}') == "local"


async def test_a_connect_is_timed() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        found = await Nearness(LOOPBACK).seconds("127.0.0.1", port)
    assert found is not None
    assert 0.0 < found < 1.0


async def test_what_plugins_may_not_reach_is_not_looked_at() -> None:
    met = asyncio.Event()
    server = await asyncio.start_server(lambda _reader, _writer: met.set(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await Nearness(NetworkRules()).seconds("127.0.0.1", port) is None
    assert not met.is_set()


async def test_where_nobody_listens_there_is_no_time() -> None:
    assert await Nearness(LOOPBACK).seconds("127.0.0.1", 1) is None


def test_answers_are_forgotten_by_age_and_number() -> None:
    clock = [0.0]
    kept: Remembered[int] = Remembered(lambda: clock[0])
    kept.put(("old", 1), 7)
    assert kept.get(("old", 1)) == (7,)
    clock[0] = REMEMBERED
    assert kept.get(("old", 1)) is None
    for n in range(MAX_REMEMBERED + 1):
        kept.put(("host", n), n)
    assert kept.get(("host", 0)) is None
    assert kept.get(("host", MAX_REMEMBERED)) == (MAX_REMEMBERED,)
