"""Locks as users and plugins see them, on a real node of a mesh of one; in worker processes too."""

import asyncio
from pathlib import Path

import pytest

from node.execution.holding import TaskLocks
from node.execution.jobs import Report
from node.execution.roots import FolderRoots
from node.execution.runner import Runner
from node.execution.secrets import Secrets
from node.service import Refused
from plugins.api import Retryable
from plugins.http import NetworkRules
from tests.node.execution.conftest import job
from tests.node.execution.samples import registry
from tests.node.leases.alone import one_node


async def test_one_holder_and_tokens_that_grow(tmp_path: Path) -> None:
    async with one_node(tmp_path) as locks:
        first = await locks.acquire("t", "x", holder="alice", ttl=60, key="k1")
        again = await locks.acquire("t", "x", holder="alice", ttl=60, key="k1")
        assert (again.token or 0) > (first.token or 0)
        with pytest.raises(Refused) as caught:
            await locks.acquire("t", "x", holder="bob", ttl=60, key="k2")
        assert caught.value.problem.status == 409
        assert caught.value.retry_after
        other = await locks.acquire("u", "x", holder="bob", ttl=60, key="k2")
        assert other.held, "tenants do not share locks"
        with pytest.raises(Refused) as caught:
            await locks.renew("t", "x", token=first.token or 0, holder="", ttl=60)
        assert caught.value.problem.type.endswith("lock-lost")
        renewed = await locks.renew("t", "x", token=again.token or 0, holder="", ttl=90)
        assert (renewed.holder, renewed.token) == ("alice", again.token)
        assert renewed.expires_in > 60
        await locks.release("t", "x", token=again.token or 0)
        assert not (await locks.read("t", "x")).held
        with pytest.raises(Refused):
            await locks.release("t", "x", token=again.token or 0)
        later = await locks.acquire("t", "x", holder="bob", ttl=1, key="k3")
        assert (later.token or 0) > (again.token or 0)


async def test_a_restart_forgets_no_promise(tmp_path: Path) -> None:
    async with one_node(tmp_path) as locks:
        first = await locks.acquire("t", "x", holder="alice", ttl=60, key="k1")
    async with one_node(tmp_path) as locks:
        with pytest.raises(Refused) as caught:
            await locks.acquire("t", "x", holder="bob", ttl=60, key="k2")
        assert caught.value.problem.status == 409
        await locks.release("t", "x", token=first.token or 0)
        second = await locks.acquire("t", "x", holder="bob", ttl=60, key="k2")
        assert (second.token or 0) > (first.token or 0)


async def test_a_plugin_holds_a_lock_while_its_block_runs(tmp_path: Path) -> None:
    async with one_node(tmp_path) as locks:
        mine = TaskLocks(locks.answer, "t", "task 1")
        others = TaskLocks(locks.answer, "t", "task 2")
        async with mine.hold("x", ttl=1) as lock:
            await asyncio.sleep(2.2)  # it is renewed meanwhile
            lock.check()
            seen = await locks.read("t", "x")
            assert (seen.holder, seen.token) == ("task 1", lock.number)
            with pytest.raises(Retryable) as caught:
                async with others.hold("x", wait=0):
                    raise AssertionError("two hold one lock")
            assert caught.value.code == "locked"
        assert not (await locks.read("t", "x")).held
        async with others.hold("x") as later:
            assert later.number > lock.number


async def test_a_plugin_learns_that_its_lock_is_lost(tmp_path: Path) -> None:
    async with one_node(tmp_path) as locks:
        mine = TaskLocks(locks.answer, "t", "task 1")
        with pytest.raises(Retryable) as caught:  # noqa: PT012 -- the end of the block raises
            async with mine.hold("x", ttl=1) as lock:
                await locks.release("t", "x", token=lock.number)
                taken = await locks.acquire("t", "x", holder="bob", ttl=60, key="k")
                await asyncio.sleep(0.6)
                assert lock.lost
        assert caught.value.code == "lock-lost"
        assert (await locks.read("t", "x")).token == taken.token


@pytest.mark.parametrize("source", ["locked", "locked-heavy"])
async def test_locks_reach_plugins_on_the_loop_and_in_workers(tmp_path: Path, source: str) -> None:
    async with one_node(tmp_path) as locks:
        ended: asyncio.Future[Report] = asyncio.get_running_loop().create_future()

        def hear(report: Report) -> None:
            if report.state != "progress":
                ended.set_result(report)

        runner = Runner(
            registry=registry(), roots=FolderRoots({"default": tmp_path}), secrets=Secrets(tmp_path),
            network=NetworkRules(), on_report=hear, log=lambda *_, **__: None, workers=1,
            worker_registry="tests.node.execution.samples:registry", locks=locks.answer,
        )  # fmt: skip
        await runner.start()
        runner.submit(job({"plugin": source, "total": 3}, {"plugin": "file", "path": "out.json"}))
        report = await asyncio.wait_for(ended, 20)
        assert (report.state, report.counts.written) == ("done", 3), report.error
        await runner.close()
        after = await locks.acquire("default", "count", holder="bob", ttl=60, key="k")
        assert (after.token or 0) > 1, "the plugin never had the lock"
