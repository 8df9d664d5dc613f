"""A node's core and its log, opened from the configuration."""

import random
import secrets as chance
from collections.abc import Callable
from pathlib import Path

import msgspec
from structlog import get_logger

from gossip.identity import Boot, NodeId
from node.comparing import FAR_INTERVAL
from node.config import Config
from node.core import Core, CoreConfig
from node.leases.core import LeaseConfig
from node.serving.driver import Driver
from node.serving.keeping import Pace
from node.stewardship.ownership import OwnershipConfig

log = get_logger(__name__)


def new_core(config: Config, me: NodeId, boot: Boot, *, sharded: Callable[[str], bool]) -> Core:
    local = config.gossip.profile == "local"
    return Core(
        me,
        boot,
        CoreConfig(
            region=config.node.region,
            replicas=config.state.replicas,
            concurrency=config.resources.concurrency,
            far_interval=1.0 if local else FAR_INTERVAL,
            ownership=msgspec.structs.replace(
                OwnershipConfig.local() if local else OwnershipConfig(),
                region_takeover=config.state.region_takeover,
            ),
            leases=LeaseConfig.local() if local else LeaseConfig(),
        ),
        rng=random.Random(chance.randbits(64)),
        client_id=lambda: chance.randbits(52),
        sharded=sharded,
    )


def open_log(driver: Driver, config: Config, data: Path, *, salvage: bool) -> None:
    """Read the log, and what was promised as a voter, into the core, and say what is wrong with it. Raises what
    `Driver.open_log` and `Driver.open_leases` raise."""
    retention = config.state.retention
    quick = config.gossip.profile == "local"
    pace = Pace(quiet=3.0, settled=3.0, retention=retention) if quick else Pace(retention=retention)
    opened = driver.open_log(data / "log", salvage=salvage, pace=pace)
    driver.open_leases(data / "leases.log")
    if opened.torn is not None:
        log.warning(
            "an interrupted write was cut off the log", file=str(opened.torn.path), offset=opened.torn.offset,
            bytes=opened.torn.bytes,
        )  # fmt: skip
    for damage in opened.salvaged:
        log.error("a damaged part of the log was skipped; replicas fill it in", damage=str(damage))
    for behind in driver.behind():
        log.error("envelopes wait for one that is missing here; a replica may have it", **behind._asdict())
