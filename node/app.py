"""The composition root: one node from its configuration to its last goodbye."""

import asyncio
import os
import random
import secrets as chance
import signal
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version as distribution_version
from typing import Any

import zmq
from structlog import get_logger

from gossip.config import SwimConfig
from gossip.identity import Boot, NodeId
from gossip.member import Member, Meta, State
from node.api.access import Access, check_exposure, read_token
from node.api.app import create_app
from node.background import Background
from node.clock import boottime
from node.config import Config
from node.data_directory import CannotStart, DataDirectory
from node.discovery.formerly import Formerly
from node.discovery.mdns import Found, Mdns
from node.discovery.seeds import Seeds
from node.drain import Drain
from node.effects import Notice
from node.execution.jobs import JobKey
from node.execution.roots import FolderRoots
from node.execution.runner import Runner
from node.execution.secrets import Secrets
from node.front import open_front
from node.leases.service import Locks
from node.membership import Membership
from node.membership_config import Identity, Settings
from node.opening import new_core, open_log
from node.presence import LOOK, Presence
from node.security.bootstrap import Given, Start, decide
from node.security.keyring import KeyRing
from node.security.keys import boot_floor, load_keys, next_boot, raise_boot
from node.security.roster import ROSTER_FILE, Roster
from node.security.selftest import require_guarded
from node.security.token import JoinToken
from node.security.zap import ZapHandler
from node.serving.admission import MeshAdmission
from node.serving.calls import Calls
from node.serving.driver import Driver
from node.serving.export import Exporter
from node.serving.hub import Hub
from node.serving.local import Local
from node.serving.news import News
from node.serving.nodes import Nodes
from node.serving.overview import Overview
from node.serving.service import MeshService
from node.solitude import Solitude
from node.standing import Standing
from node.transport.addresses import advertised, shifted
from node.transport.base import BULK_HWM, BULK_MESSAGE
from node.transport.entrance import enter
from node.transport.zmq import Plane
from node.verification.verifier import Verifier
from node.whereabouts import Whereabouts
from plugins.http import NetworkRules
from plugins.registry import Registry

log = get_logger(__name__)

LEAVE_WITHIN = 2.0
"""Seconds for an orderly leave."""
READY_AFTER = 5.0
"""Seconds after which a node takes work although it could not compare itself with every peer."""
FACTS_EVERY = 5.0
PROFILES: dict[str, Callable[[], SwimConfig]] = {
    "lan": SwimConfig.lan,
    "wan": SwimConfig.wan,
    "local": SwimConfig.local,
}


class App:
    """`salvage`: start from what is sound in a damaged log."""

    def __init__(self, config: Config, *, join: str | None, salvage: bool = False) -> None:
        self.config = config
        self._join = join
        self._salvage = salvage
        self.version = distribution_version("collect-node")
        self.registry = Registry.installed()
        self.roots = FolderRoots({name: root.path for name, root in config.roots.items()})
        self.rules = NetworkRules(config.network.allow, config.network.deny)
        self._stopping: list[Callable[[], Any]] = []
        self._background = Background()

    # ---- start

    async def start(self) -> Start:
        """Everything up; raises CannotStart, and what the parts raise, with all that was begun closed again."""
        try:
            return await self._start()
        except BaseException:
            await self.stop(leave=False)
            raise

    async def _start(self) -> Start:
        config = self.config
        data = DataDirectory(config.node.data_dir)
        self._stopping.append(data.close)
        self.data = data
        token = read_token(config.http.token_file) if config.http.token_file else None
        check_exposure(
            str(config.http.bind),
            token=token,
            tls=config.http.tls_cert is not None,
            insecure=config.http.insecure,
        )
        given = Given(
            join=self._join, key_file=config.mesh.key_file, seeds=config.mesh.seeds, mdns=config.mesh.mdns
        )
        start = await decide(data.path, given, enter=partial(enter, data.path, config.node.name))
        if not isinstance(start, Start):
            raise CannotStart(start.message)
        keys = load_keys(data.path)
        boot = next_boot(data.path, boot_floor(time.time()))
        roster = Roster.load(data.path / ROSTER_FILE)
        self.me = keys.id
        self._open_core(keys.id, boot)
        self.core.leases.founded = start.founded
        data.used_by(self.version)
        raise_boot(data.path, boot - 1)  # only now: a start that is refused for a damaged log changes nothing
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._stopping.append(lambda: context.destroy(linger=0))
        gate = ZapHandler(context, roster)
        gate.start()
        self._stopping.append(gate.stop)
        self.gate = gate
        bind = str(config.mesh.bind)
        advertise = str(config.mesh.advertise) if config.mesh.advertise else None
        self.plane = Plane(
            context,
            bind=shifted(bind, 1),
            keys=keys,
            roster=roster,
            max_message=BULK_MESSAGE,
            hwm=BULK_HWM * 8,
        )
        self._stopping.append(self.plane.close)
        self.roster = roster
        await self._start_runner()
        self._compose(start)
        self.driver.start(
            run=self.runner.submit_many,
            stop=self._stop_job,
            pace=self.runner.pace_job,
            calls=self.calls.received,
        )
        self._stopping.append(self.driver.close)
        self.plane.start(self.driver.received)
        await asyncio.to_thread(require_guarded, context, self.plane.bound_address, keys.pair.public)
        await self._start_http(token, ring := KeyRing(start.cluster, data.path))
        settings = Settings(
            bind=bind,
            bulk=advertised(self.plane.bound_address, advertise, 1),
            meta=self.presence.meta(),
            config=PROFILES[config.gossip.profile](),
            data_dir=data.path,
            advertise=advertise,
        )
        identity = Identity.load(data.path, keys=keys, boot=boot, ring=ring, roster=roster)
        self.membership = Membership(
            context, identity, settings, on_change=self._member_changed, on_conflict=self.standing.conflict
        )
        self._stopping.append(self.membership.stop)
        await self.membership.start()
        self._admission.membership = self.membership
        gate.refused = 0  # the self-test's own
        self.overview.refused = lambda: gate.refused + self.plane.unlisted + self.membership.refused
        self.driver.members(self.membership.snapshot())
        self._look_around(start)
        self._discover(start)
        self._background.run(self._watch())
        self._background.run(self._say_facts_regularly())
        return start

    def _look_around(self, start: Start) -> None:
        mesh, others = self.config.mesh, [each for each in self.roster.entries() if each.id != self.me]
        names = [each.name for each in others if not each.revoked]
        asked, address = (*start.addresses, *mesh.seeds), self.membership.address
        self.solitude = Solitude(boottime(), names=names, asked=asked, address=address)
        self.whereabouts = Whereabouts(address, bind=mesh.bind.host, advertise=mesh.advertise is not None)
        self.overview.own = lambda: [self.solitude.warning, self.whereabouts.warning]

    def _open_core(self, me: NodeId, boot: Boot) -> None:
        self.hub = Hub()
        self.core = new_core(self.config, me, boot, sharded=self._sharded)
        self.standing = Standing(self.core, self.data.path)
        self.driver = Driver(self.core, send=self._send, on_notice=self._notice)
        open_log(self.driver, self.config, self.data.path, salvage=self._salvage)

    def _sharded(self, collector: str) -> bool:
        plugin = self.registry.find("collector", collector)
        return bool(getattr(plugin, "sharded", True))

    async def _start_runner(self) -> None:
        config = self.config
        secrets = Secrets(self.data.path / "secrets")
        self.presence = Presence(
            config, self.version, self.registry, self.roots, secrets, self.core, self.driver, self.data
        )
        self.locks = Locks(self.core, self.driver)
        self.runner = Runner(
            registry=self.registry,
            roots=self.roots,
            secrets=secrets,
            network=self.rules,
            on_report=self.driver.reported,
            log=log.info,
            workers=config.resources.workers,
            locks=self.locks.answer,
        )
        await self.runner.start()
        self._stopping.append(self.runner.close)

    def _compose(self, start: Start) -> None:
        archived = self.driver.keeping.archive.counts
        self.overview = Overview(
            self.core, self.registry, self.presence.facts, start.cluster.mesh_id, archived
        )
        self.local = Local(self.core, self.driver, self.presence.check_intake)
        operations: dict[str, Any] = {}
        self.calls = Calls(self.driver.send, operations)
        self._stopping.append(self.calls.close)
        news = News(self.me, self.hub, chance.token_hex(4), self.core.ownership.live, self.calls.call)
        self._stopping.append(news.close)
        drain = Drain(self.data.path, self.core, self._drain_changed)
        self.nodes = Nodes(self.overview, self.calls, drain, pause=self._pause, retire=self._retire)
        self.service = MeshService(
            self.core,
            self.local,
            self.calls,
            news,
            self.overview,
            self.registry,
            facts=self.presence.spec_facts,
            ready=self.presence.readiness,
            nodes=self.nodes,
            exporter=Exporter(self.roots),
            locks=self.locks,
            verifier=Verifier(self.core, self.driver, self.calls, self.roots),
            rules=self.rules,
            compared=lambda: self.presence.compared or len(self.roster.entries()) <= 1,
        )
        operations.update(self.service.operations())
        self.driver.on_stall = lambda _: self._update_meta()

    async def _start_http(self, token: str | None, ring: KeyRing) -> None:
        http = self.config.http
        access = Access(token=token, allowed_hosts=frozenset(http.allowed_hosts))
        self._admission = MeshAdmission(self.me, self.roster, ring)
        app = create_app(
            self.service, self.registry, access=access, node_id=self.me, version=self.version,
            admission=self._admission,
        )  # fmt: skip
        front = await open_front(app, http)
        self._stopping.append(front.listening.stop)
        self.url = self.presence.url = front.url
        if front.certificate:
            self._background.run(front.certificate.follow())

    def _discover(self, start: Start) -> None:
        rng = random.Random(chance.randbits(64))
        places = [each.join for each in self.roster.entries() if each.join and each.id != self.me]
        former = Formerly(places, rng=rng, wanted=lambda: not self.solitude.met)
        self.seeds = Seeds(self.config.mesh.seeds, rng=rng)
        self._background.run(Seeds(start.addresses, rng=rng, exact=True).run(self.membership.propose))
        self._background.run(self.seeds.run(self.membership.propose))
        self._background.run(former.run(self.membership.guess))
        if self.config.mesh.mdns:
            me = Found(start.cluster.mesh_id, self.config.node.region, self.membership.join_address)
            self._background.run(
                Mdns(self.me, me, known=lambda node: node in self.roster.keys).run(self.membership.guess)
            )
        self.token = JoinToken((self.membership.join_address,), start.cluster).text()

    def _pause(self, *, paused: bool) -> None:
        self.core.executor.pause(paused=paused)
        self.driver.kick()
        self._tell_facts()

    def _retire(self, node: NodeId) -> None:
        self.membership.retire(node)
        self.core.leases.forget(frozenset([node]))

    def _drain_changed(self) -> None:
        self._update_meta()
        self.driver.kick()
        self._tell_facts()

    # ---- what happens

    def _send(self, to: NodeId, payload: bytes) -> bool:
        entry = self.roster.entry(to)
        return entry is not None and bool(entry.bulk) and self.plane.send(to, entry.bulk, payload)

    def _stop_job(self, key: JobKey, *, drain: bool) -> None:
        self.runner.stop_job(key, drain=drain)

    def _notice(self, notice: Notice) -> None:
        self.hub.publish(notice.kind, dict(notice.data))

    def _member_changed(self, member: Member, before: State | None) -> None:
        self.driver.members(self.membership.snapshot())
        self.hub.publish(
            "member",
            {
                "node": member.id,
                "name": member.meta.name,
                "state": str(member.state),
                "before": str(before or ""),
            },
        )
        entry = self.roster.entry(member.id)
        if member.state is State.LEFT and entry is not None and entry.revoked:
            self.core.leases.forget(frozenset([member.id]))
        if member.id != self.me:
            log.info("member", node=member.meta.name, id=member.id, state=str(member.state))
        if member.state in (State.DEAD, State.LEFT) and member.id != self.me:
            self.plane.disconnect(member.id)
        elif before is None or before in (State.DEAD, State.LEFT):
            self._tell_facts()

    def _tell_facts(self) -> None:
        facts = self.presence.facts()
        self.core.receive(self.me, facts, boottime(), 0)
        for node in sorted(self.core.ownership.live() - {self.me}):
            self.driver.send(node, facts)

    async def _say_facts_regularly(self) -> None:
        while True:
            self._tell_facts()
            self.nodes.look()
            self.whereabouts.look()
            await asyncio.sleep(FACTS_EVERY)

    async def _watch(self) -> None:
        """Become ready when this node has compared itself with its peers; stop being so when it cannot work."""
        began = boottime()
        said: Meta | None = None
        while True:
            if not self.gate.alive or not self.membership.alive:
                log.critical("a guard thread has died; this node stops")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            if self.standing.lost(joining=not self.presence.compared):
                return
            if not self.presence.compared:
                self.presence.compared = self._compared(boottime() - began)
            others = len(self.core.ownership.live() - {self.me})
            known, failures = self.membership, self.seeds.failures | self.membership.failures
            self.solitude.look(
                boottime(), others=others, why=failures, welcomed=known.welcomed, refusing=known.refusing
            )
            meta = self.presence.look(boottime(), known.heard)
            if self.membership.beat() or meta != said:
                said = meta
                self.membership.set_meta(meta)
            await asyncio.sleep(LOOK)

    def _compared(self, waited: float) -> bool:
        """Equal with every live peer, or alone, or it has taken too long."""
        others = self.core.ownership.live() - {self.me}
        if others:
            return others <= self.core.replicator.synced or waited > READY_AFTER
        return waited > (READY_AFTER if len(self.roster.entries()) > 1 else 1.0)

    def _update_meta(self) -> None:
        self.membership.set_meta(self.presence.meta())

    # ---- end

    async def stop(self, *, leave: bool = True) -> None:
        """Orderly: jobs commit, slots go to others, the members are told; then everything is closed, last first."""
        await self._background.stop()
        if leave:
            self.core.executor.pause(paused=True)
            self.core.steward.give_away()
            self.driver.flush()
            await self._drained(LEAVE_WITHIN / 2)
            await self.membership.leave(LEAVE_WITHIN / 2)
        while self._stopping:
            result = self._stopping.pop()()
            if asyncio.iscoroutine(result):
                await result

    async def _drained(self, within: float) -> None:
        end = boottime() + within
        while self.core.executor.running and boottime() < end:
            await asyncio.sleep(0.02)
