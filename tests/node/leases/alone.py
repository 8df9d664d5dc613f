"""A mesh of one with its real log, file and loop, for what is asked of locks from above."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from gossip.identity import Boot, NodeId
from node.core import Core, CoreConfig
from node.leases.core import LeaseConfig
from node.leases.service import Locks
from node.serving.driver import Driver
from node.serving.keeping import Pace
from tests.node.stewardship.desk import member


@asynccontextmanager
async def one_node(folder: Path) -> AsyncIterator[Locks]:
    config = CoreConfig(slots=8, leases=LeaseConfig.local())
    rng = Random(1)
    core = Core(
        NodeId("a"), Boot(1), config, rng=rng, client_id=lambda: rng.getrandbits(52), sharded=lambda _: True
    )
    driver = Driver(core, send=lambda _to, _payload: True, on_notice=lambda _: None)
    driver.open_log(folder / "log", salvage=False, pace=Pace())
    driver.open_leases(folder / "leases.log")
    core.leases.founded = True
    driver.start(
        run=lambda _: None,
        stop=lambda _key, *, drain: None,
        pace=lambda *_: None,
        calls=lambda _sender, _message: None,
    )
    driver.members({NodeId("a"): member("a")})
    yield Locks(core, driver)
    await driver.close()
