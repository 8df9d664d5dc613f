"""One verification of the whole mesh: asks every live node, piece by piece, and tells what it finds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec

from gossip.identity import NodeId
from node.core import Core
from node.execution.roots import FolderRoots
from node.schema import Finding, VerifyLine, VerifySummary
from node.service import Refused
from node.serving.calls import Calls, NoAnswer
from node.serving.driver import Driver
from node.serving.routes import Routes
from node.verification import comparing
from node.verification.answers import Answers
from node.verification.archives import ArchiveCheck
from node.verification.disk import DiskCheck
from node.verification.findings import of_archive, of_folder, of_gap, of_log, of_loss, unchecked, uncompared
from node.verification.mending import Mender
from node.verification.outputs import FolderCheck
from sharding.region import slot_in

TIMEOUT = 60.0
"""Seconds for one piece; the largest is a log file of 64 MiB, or one folder's parts with their sha256."""
SLOTS = 256
"""Slots of one question."""
ROUNDS = 10
PAUSE = 0.5
"""A slot that is unequal is looked at so often, so many seconds apart, before it is called different."""


class Verifier:
    """`routes`: the regions, and which node answers for which slots."""

    def __init__(self, core: Core, driver: Driver, calls: Calls, roots: FolderRoots) -> None:
        self._core, self._calls = core, calls
        self._check = DiskCheck(driver)
        self._answers = Answers(core, driver)
        self._mender = Mender(driver)
        self._archives = ArchiveCheck(core, driver, self.ask)
        self._folders = FolderCheck(roots)
        driver.on_damage = self._mender.heal
        driver.on_rot = self._archives.heal
        self.routes = Routes(core)

    def operations(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[Any]]]:
        """What other nodes may ask of this one."""
        return {
            "verify-log": self._check.log, "verify-files": self._check.files, "verify-behind": self._check.behind,
            "verify-slots": self._answers.slots, "verify-heads": self._answers.heads,
            "verify-tasks": self._answers.tasks, "verify-folder": self._folders.folder, "mend": self._mender.mend,
            "verify-archive": self._archives.rows, "mend-archive": self._archives.mend,
            "archived-row": self._archives.row, "verify-batches": self._archives.batches,
        }  # fmt: skip

    async def ask(self, node: NodeId, operation: str, arguments: dict[str, Any]) -> Any:
        """Raises NoAnswer, Refused."""
        if node == self._core.me:
            try:
                return await self.operations()[operation](arguments)
            except (OSError, ValueError) as error:  # a damaged file, say; the others are asked
                raise NoAnswer(f"node {node} failed: {error}") from None
        return await self._calls.call(node, operation, arguments, timeout=TIMEOUT)

    def run(self, *, repair: bool, deep: bool) -> AsyncIterator[VerifyLine]:
        """Findings as they are made, progress between them, the summary last."""
        return _Verification(self, self._core, repair=repair, deep=deep).lines()


class _Verification:
    """`left`: nodes that do not answer, or cannot; asked nothing more. `silent`: who gave no answer about which slots
    in the stage that is under way, and why.
    """

    def __init__(self, verifier: Verifier, core: Core, *, repair: bool, deep: bool) -> None:
        self._verifier, self._core, self._repair, self._deep = verifier, core, repair, deep
        self._summary = VerifySummary()
        self._left: set[NodeId] = set()
        self._silent: dict[NodeId, tuple[set[int], Exception]] = {}

    async def lines(self) -> AsyncIterator[VerifyLine]:
        for stage in (self._logs, self._archives, self._replicas, self._batches, self._outputs):
            async for line in stage():
                if line.finding is not None:
                    self._count(line.finding)
                yield line
        yield VerifyLine(stage="end", summary=self._summary)

    def _count(self, finding: Finding) -> None:
        if finding.kind == "unchecked":
            self._summary.unchecked += 1
        elif finding.repaired:
            self._summary.repaired += 1
        else:
            self._summary.differences += 1

    def _nodes(self) -> list[NodeId]:
        return sorted(self._core.ownership.live() - self._left)

    # ---- logs

    async def _logs(self) -> AsyncIterator[VerifyLine]:
        nodes = self._nodes()
        self._summary.nodes = len(nodes)
        for done, node in enumerate(nodes):
            try:
                async for line in self._log_of(node, done, len(nodes)):
                    yield line
            except (NoAnswer, Refused) as error:
                self._left.add(node)
                self._summary.nodes -= 1
                yield VerifyLine(stage="logs", finding=unchecked(node, error))

    async def _log_of(self, node: NodeId, done: int, total: int) -> AsyncIterator[VerifyLine]:
        wounds: list[Sequence[Any]] = []
        damaged: list[Sequence[Any]] = []
        number: int | None = 0
        while number is not None:
            answer = await self._verifier.ask(node, "verify-files", {"after": number})
            wounds += answer["wounds"]
            self._summary.bytes += answer["bytes"]
            number = answer["next"]
            yield VerifyLine(stage="logs", done=done, total=total)
        at: Any = [-1, "", 0]
        while at is not None:
            answer = await self._verifier.ask(node, "verify-log", {"at": at})
            damaged += answer["damaged"]
            self._summary.envelopes += answer["envelopes"]
            at = answer["next"]
            yield VerifyLine(stage="logs", done=done, total=total)
        for file in sorted({wound[0] for wound in wounds} | {entry[3] for entry in damaged}):
            mended = await self._verifier.ask(node, "mend", {"file": file}) if self._repair else None
            for finding in of_log(node, file, wounds, damaged, mended):
                yield VerifyLine(stage="logs", finding=finding)
        for behind in await self._verifier.ask(node, "verify-behind", {}):
            yield VerifyLine(stage="logs", finding=of_gap(node, behind))

    def _pieces(self) -> list[range]:
        """The slots of all regions, as many as one question is about."""
        slots = self._core.config.slots
        return [
            range(slot_in(region, first), slot_in(region, min(first + SLOTS, slots)))
            for region in self._verifier.routes.regions()
            for first in range(0, slots, SLOTS)
        ]

    # ---- archives

    async def _archives(self) -> AsyncIterator[VerifyLine]:
        nodes = self._nodes()
        for done, node in enumerate(nodes):
            try:
                async for line in self._archive_of(node, done, len(nodes)):
                    yield line
            except (NoAnswer, Refused) as error:
                yield VerifyLine(stage="archives", finding=unchecked(node, error))

    async def _archive_of(self, node: NodeId, done: int, total: int) -> AsyncIterator[VerifyLine]:
        at: Any = [-1, ""]
        while at is not None:
            answer = await self._verifier.ask(node, "verify-archive", {"at": at})
            self._summary.archived += answer["rows"]
            self._summary.bytes += answer["bytes"]
            for slot, batch, why in answer["damaged"]:
                mended = None
                if self._repair:
                    mended = await self._verifier.ask(node, "mend-archive", {"slot": slot, "batch": batch})
                finding = of_archive(node, answer["file"], slot, batch, why, mended)
                yield VerifyLine(stage="archives", finding=finding)
            at = answer["next"]
            yield VerifyLine(stage="archives", done=done, total=total)

    # ---- replicas

    async def _replicas(self) -> AsyncIterator[VerifyLine]:
        unequal, pieces = list[int](), self._pieces()
        for done, piece in enumerate(pieces):
            views = await self._views(piece)
            self._summary.slots += len({slot for held in views.values() for slot in held})
            unequal += comparing.unequal(views, self._core.ownership.placement.owners)
            yield VerifyLine(stage="replicas", done=done * SLOTS, total=len(pieces) * SLOTS)
        for done, slot in enumerate(unequal):
            yield VerifyLine(stage="differences", done=done, total=len(unequal))
            for finding in await self._look_closer(slot):
                yield VerifyLine(stage="replicas", finding=finding)
        for line in self._uncompared("replicas"):
            yield line

    async def _batches(self) -> AsyncIterator[VerifyLine]:
        """Archived batches that a replica has and another does not know."""
        pieces, gone = self._pieces(), dict[tuple[int, str, str], str]()
        for done, piece in enumerate(pieces):
            gone |= await self._gone(piece)
            yield VerifyLine(stage="batches", done=done, total=len(pieces))
        for _ in range(ROUNDS if gone else 0):  # what is on its way is given time
            await asyncio.sleep(PAUSE)
            again = [
                await self._gone(range(slot, slot + 1)) for slot in sorted({slot for slot, _, _ in gone})
            ]
            gone = {at: other for at, other in gone.items() if any(at in found for found in again)}
            if not gone:
                break
        for (slot, node, batch), other in gone.items():
            mended = None
            if self._repair:
                with contextlib.suppress(NoAnswer, Refused):
                    arguments = {"slot": slot, "batch": batch}
                    mended = await self._verifier.ask(NodeId(node), "mend-archive", arguments)
            yield VerifyLine(stage="batches", finding=of_loss(node, slot, batch, other, mended))
        for line in self._uncompared("batches"):
            yield line

    def _uncompared(self, stage: str) -> list[VerifyLine]:
        silent, self._silent = self._silent, {}
        return [
            VerifyLine(stage=stage, finding=uncompared(node, len(slots), error))
            for node, (slots, error) in sorted(silent.items())
        ]

    async def _gone(self, slots: range) -> dict[tuple[int, str, str], str]:
        answers = await self._all("verify-batches", slots, {"first": slots.start, "last": slots.stop})
        views: dict[str, dict[int, comparing.Batches]] = {
            node: {int(slot): view for slot, view in held.items()} for node, held in answers.items()
        }
        return comparing.gone(views, self._core.ownership.placement.owners)

    async def _views(self, slots: range) -> dict[str, dict[int, comparing.View]]:
        answers = await self._all("verify-slots", slots, {"first": slots.start, "last": slots.stop})
        return {
            node: {int(slot): (bytes(view[0]), bytes(view[1])) for slot, view in held.items()}
            for node, held in answers.items()
        }

    async def _all(self, operation: str, slots: range, arguments: dict[str, Any]) -> dict[NodeId, Any]:
        """The answers about these slots of the nodes that give one."""

        async def ask(node: NodeId) -> Any:
            try:
                return await self._verifier.ask(node, operation, arguments)
            except (NoAnswer, Refused) as error:
                self._silent.setdefault(node, (set(), error))[0].update(slots)
                return None

        nodes = self._nodes()
        answers = await asyncio.gather(*map(ask, nodes))
        return {node: answer for node, answer in zip(nodes, answers, strict=True) if answer is not None}

    async def _look_closer(self, slot: int) -> list[Finding]:
        """Unequal for good? What moves is given time; what was known at first has to be everywhere at last."""
        known = comparing.most((await self._heads(slot)).values())
        views: dict[str, comparing.View] = {}
        for _ in range(ROUNDS):
            held = await self._views(range(slot, slot + 1))
            owners = self._core.ownership.placement.owners
            if not comparing.unequal(held, owners):
                return []
            views = {node: held[node].get(slot, comparing.NOTHING) for node in owners(slot) if node in held}
            if len({heads for heads, _ in views.values()}) == 1:
                break
            await asyncio.sleep(PAUSE)
        found = comparing.behind(slot, known, await self._heads(slot))
        return found + comparing.diverged(slot, views)

    async def _heads(self, slot: int) -> dict[str, dict[str, int]]:
        owners = self._core.ownership.placement.owners(slot)
        answers = await self._all("verify-heads", range(slot, slot + 1), {"slots": [slot]})
        held = {node: slots[slot] for node, slots in answers.items() if node in owners}
        return {
            str(node): {str(author): int(seq) for author, seq in its.items()} for node, its in held.items()
        }

    # ---- outputs

    async def _outputs(self) -> AsyncIterator[VerifyLine]:
        by_node, missing = self._verifier.routes.by_node()
        for done, (node, slots) in enumerate(sorted(by_node.items())):
            if node in self._left:
                missing = [*missing, *slots]
                continue
            after: Any = [-1, "", -1]
            while after is not None:
                try:
                    page = await self._verifier.ask(node, "verify-tasks", {"slots": slots, "after": after})
                except (NoAnswer, Refused) as error:
                    yield VerifyLine(stage="outputs", finding=unchecked(node, error))
                    break
                after = page["next"]
                for task in page["tasks"]:
                    self._summary.tasks += 1
                    for finding in await self._output(task):
                        yield VerifyLine(stage="outputs", finding=finding)
                yield VerifyLine(stage="outputs", done=done, total=len(by_node))
        if missing:
            what = f"the tasks of {len(missing)} slots were not looked at: nobody who answers holds them"
            yield VerifyLine(stage="outputs", finding=Finding(kind="unchecked", what=what))

    async def _output(self, task: dict[str, Any]) -> list[Finding]:
        found: list[Finding] = []
        for path in task["paths"]:
            found += await self._folder(task, path)
        return found

    async def _folder(self, task: dict[str, Any], path: str) -> list[Finding]:
        """Asked twice where something is wrong: a run may just be published."""
        node = next((node for node in task["nodes"] if node not in self._left), None)
        if node is None:
            what = f"no live node that answers can reach its folder {path}"
            return [Finding(kind="unchecked", task=task["id"], file=path, what=what)]
        arguments = {"path": path, "task": task["id"], "deep": self._deep, "repair": False}
        try:
            answer = await self._verifier.ask(node, "verify-folder", arguments)
            if of_folder(task, node, answer):
                await asyncio.sleep(PAUSE)
                arguments["repair"] = self._repair
                answer = await self._verifier.ask(node, "verify-folder", arguments)
        except (NoAnswer, Refused) as error:
            return [msgspec.structs.replace(unchecked(node, error), task=task["id"])]
        self._summary.parts += answer["parts"]
        self._summary.bytes += answer["bytes"] if self._deep else 0
        return of_folder(task, node, answer)
