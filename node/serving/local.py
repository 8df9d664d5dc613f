"""What this node answers itself, for the slots that it holds. Arguments and answers are plain data."""

from typing import Any

import msgspec

from node import operations
from node.api.problems import refuse
from node.clock import wall_ms
from node.core import Core
from node.operations import Origin, Submission
from node.schema import TERMINAL, DeadLetterItem, TaskSpec
from node.service import Refused
from node.serving.driver import Driver
from node.serving.listing import Listing
from node.stewardship.specs import decode_spec
from node.views import TaskReader
from sharding.key import TaskId, parse
from state.entries import Batch
from state.ledger import Ledger
from state.model import Wish

MAX_REPLAY = 512 << 10
"""Bytes of the records of one replay: they travel as one fact, and no fact may be larger than 1 MiB."""
ANEW = (
    "source, sinks, transforms, mode, incremental or the range's field have changed: the next run begins anew, without "
    "cursor and coverage, and what it publishes takes the place of all that was collected before (upsert keeps it)"
)
WISHES = frozenset({"pause", "resume", "cancel", "delete"})


class Local:
    """`ready()`: raises Refused while this node cannot take writes."""

    def __init__(self, core: Core, driver: Driver, check_intake: Any) -> None:
        self.core = core
        self.driver = driver
        self.listing = Listing(core, driver.keeping)
        self._check_intake = check_intake

    # ---- reading

    def reader(self, id_text: str) -> TaskReader:
        """Raises Refused 404 when the task is not here, or was deleted."""
        found = self._known(id_text)
        if found.desired.deleted:
            raise refuse(404, "not-found", f"task {id_text} was deleted")
        return found

    def _known(self, id_text: str) -> TaskReader:
        """The same for a task that may be deleted."""
        task = parse(id_text)
        if task is None:
            raise refuse(404, "not-found", f"{id_text!r} is no task id")
        archived = self.driver.keeping.read(task.slot, task.batch)
        try:
            return TaskReader(self.core, task, wall_ms(), archived)
        except KeyError:
            raise refuse(404, "not-found", f"there is no task {id_text}") from None

    async def task(self, arguments: dict[str, Any]) -> Any:
        return _plain(self.reader(arguments["id"]).task())

    async def runs(self, arguments: dict[str, Any]) -> Any:
        return _plain(self.reader(arguments["id"]).runs())

    async def shards(self, arguments: dict[str, Any]) -> Any:
        return _plain(self.reader(arguments["id"]).shards(arguments.get("run")))

    async def coverage(self, arguments: dict[str, Any]) -> Any:
        return _plain(self.reader(arguments["id"]).coverage())

    async def errors(self, arguments: dict[str, Any]) -> Any:
        return _plain(self.reader(arguments["id"]).errors())

    async def letters(self, arguments: dict[str, Any]) -> Any:
        letters = self.reader(arguments["id"]).dead_letters()
        after, limit = arguments.get("after") or "", int(arguments["limit"])
        rest = [letter for letter in letters if f"{letter.run}|{letter.id}" > after]
        page = rest[:limit]
        following = f"{page[-1].run}|{page[-1].id}" if len(rest) > limit else None
        return {"items": _plain(page), "next": following}

    async def needs(self, arguments: dict[str, Any]) -> Any:
        """For `why`: the task, and for each node the reasons why it cannot run it."""
        reader = self.reader(arguments["id"])
        refusals = self.core.steward.leasing.refusals(reader.work.needs)
        facts = self.core.steward.leasing.facts
        nodes = [
            {"id": node, "name": facts[node].name, "eligible": not reasons, "reasons": reasons}
            for node, reasons in refusals.items()
        ]
        running = [
            {"shard": shard.id, "node": shard.node, "state": shard.state}
            for shard in reader.shards(None)
            if shard.state in ("leased", "running")
        ]
        errors = _plain(reader.errors())
        return {"task": _plain(reader.task()), "nodes": nodes, "errors": errors, "running": running}

    # ---- writing

    async def submit(self, arguments: dict[str, Any]) -> Any:
        """Create a group's tasks here; `{created, level}`. A repeat of the same request changes nothing."""
        self._check_intake()
        submission = msgspec.convert(arguments["submission"], Submission, builtin_types=(bytes,))
        tenant, key = arguments["tenant"], arguments["key"]
        self.driver.keeping.thaw(submission.slot, submission.batch)
        ledger = self.core.replicator.ledger(submission.slot)
        entry = ledger.batches.get(submission.batch)
        if entry is not None and entry.parts:
            return await self._again(ledger, entry, submission, arguments)
        origin = Origin(
            node=arguments["origin"], writer=self.core.writer,
            roots=arguments["roots"], slots=self.core.config.slots,
        )  # fmt: skip
        facts = operations.submit_facts(submission, origin, tenant=tenant, key=key, now_ms=wall_ms())
        level = await self.driver.write(submission.slot, facts)
        entry = ledger.batches.get(submission.batch)
        if entry is not None and entry.content != submission.content:
            raise _outrun(submission)
        return {"created": True, "level": self._enough(level, arguments)}

    async def _again(
        self, ledger: Ledger, entry: Batch, submission: Submission, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """The batch is here already: the same request again, or a named task submitted anew."""
        key = arguments["key"]
        if submission.name is None:
            if entry.content != submission.content:
                raise _outrun(submission)
            return {"created": False, "level": min(2, 1 + len(self.core.replicator.peers(submission.slot)))}
        reader = TaskReader(self.core, TaskId(submission.slot, submission.batch, 0), wall_ms())
        spec, submitted = decode_spec(reader.desired.spec or reader.raw), decode_spec(submission.specs[0])
        again = reader.desired.deleted
        if not again and _without_range(spec) != _without_range(submitted):
            difference = _difference(spec, submitted)
            remedy = "change it with PUT (If-Match), or delete it first"
            detail = f"task {submission.name} exists with another spec: {difference}; {remedy}"
            raise refuse(409, "other-spec", detail)
        if entry.key == key or operations.heard(entry, "run", key, [0]):
            if again:  # it was under way for long, say: a node that stood still answers what it had received
                detail = f"task {submission.name}, which this request (Idempotency-Key) made, has been deleted since"
                raise refuse(409, "deleted", f"{detail}; to make it anew, send it under another key")
            return {"created": False, "level": 1}
        if not again and spec.mode == "incremental" and reader.state()[0] not in TERMINAL:
            return {"created": False, "level": 1}
        facts = []
        if again:
            facts.append(self._wish(ledger, submission.batch, 0, "undelete", key, {}))
            facts.append(
                self._wish(
                    ledger,
                    submission.batch,
                    0,
                    "replace",
                    key,
                    {"spec": submission.specs[0], "generation": 1},
                )
            )
        elif spec.range != submitted.range:
            facts.append(
                self._wish(ledger, submission.batch, 0, "replace", key, {"spec": submission.specs[0]})
            )
        run = _run_name("submit", reader, key)
        force = {"force": True} if arguments.get("force") else {}
        facts.append(self._wish(ledger, submission.batch, 0, "run", key, force, run=run))
        level = await self.driver.write(submission.slot, facts)
        return {"created": again, "level": self._enough(level, arguments)}

    def _wish(
        self,
        ledger: Ledger,
        batch: str,
        index: int,
        kind: str,
        key: str,
        arguments: dict[str, Any],
        run: str = "",
    ) -> Any:
        return operations.wish(
            ledger,
            batch,
            [index],
            kind,
            writer=self.core.writer,
            key=key,
            now_ms=wall_ms(),
            arguments=arguments,
            run=run,
        )

    def _enough(self, level: int, arguments: dict[str, Any]) -> int:
        """The durability reached; Refused when it is less than was asked for by name."""
        if level == 0:
            refused = refuse(507, "disk", "this node could not write its log; nothing was acknowledged")
            refused.retry_after = 5.0
            raise refused
        wanted = arguments.get("durability")
        if wanted and level < wanted:
            refused = refuse(503, "durability", f"only {level} of the {wanted} disks asked for hold the task; the same "
                             "request with the same Idempotency-Key can be repeated")  # fmt: skip
            refused.problem.state_changed = True
            refused.retry_after = 1.0
            raise refused
        return level

    async def control(self, arguments: dict[str, Any]) -> Any:
        """A wish about one task; the task as it is then."""
        self._check_intake()
        task = parse(arguments["id"])
        if task is not None:
            self.driver.keeping.thaw(task.slot, task.batch)
        reader = self._known(arguments["id"])
        action, details = arguments["action"], dict(arguments["arguments"])
        kinds = {
            "patch": ("priority", "limits", "retry-policy"),
            "retry": ("retry", "letters", "retry-policy"),
        }
        for kind in kinds.get(action, (action,)):
            if operations.heard(reader.entry, kind, arguments["key"], [reader.id.place]):
                return _plain(reader.task())
        reader = self.reader(arguments["id"])
        expected = arguments.get("if_match")
        if expected is not None and expected != reader.desired.revision:
            detail = f"the task is at revision {reader.desired.revision}, If-Match names {expected}"
            raise refuse(412, "revision", f"{detail}; read it again and repeat the change")
        facts = self._facts_of(reader, action, details, arguments)
        if facts:
            before = reader.task()
            level = await self.driver.write(reader.id.slot, facts)
            self._enough(level, {})
            if action == "delete":
                return _plain(before)
        told = TaskReader(self.core, reader.id, wall_ms()).task()
        if any(isinstance(fact, Wish) and fact.arguments.get("generation") for _, _, fact in facts):
            told.warnings.append(ANEW)
        return _plain(told)

    def _facts_of(
        self, reader: TaskReader, action: str, details: dict[str, Any], arguments: dict[str, Any]
    ) -> list[Any]:
        ledger = self.core.replicator.ledger(reader.id.slot)

        def wish(kind: str, values: dict[str, Any], run: str = "") -> Any:
            return self._wish(ledger, reader.id.batch, reader.id.place, kind, arguments["key"], values, run)

        state = reader.state()[0]
        if action in WISHES:
            if action in ("pause", "cancel") and state in TERMINAL:
                if action == "cancel" and state == "cancelled":
                    return []
                raise refuse(409, "over", f"the task is {state}; there is nothing to {action}")
            if action == "resume" and state in TERMINAL and not reader.desired.paused:
                return []
            # a resume in any other state: the pause may be known elsewhere, and not yet here
            return [wish(action, {})]
        if action == "patch":
            names = {"priority": "priority", "limits": "limits", "retry": "retry-policy"}
            return [
                wish(names[field], {field: value})
                for field, value in sorted(details.items())
                if field in names
            ]
        if action == "replace":
            spec = decode_spec(details["spec"])
            if spec.name != reader.entry.name or spec.tenant != reader.entry.tenant:
                raise refuse(409, "identity", "a task keeps its name and tenant; submit another task instead")
            before = reader.effective.spec
            fresh = int(_identity(spec) != _identity(before))
            timed = (spec.schedule, spec.timezone) != (before.schedule, before.timezone)
            return [wish("replace", {"spec": details["spec"], "generation": fresh, "rescheduled": timed})]
        if action == "retry":
            return self._retry(reader, details, wish, arguments["key"])
        raise refuse(400, "action", f"unknown action {action!r}")

    def _retry(self, reader: TaskReader, details: dict[str, Any], wish: Any, key: str) -> list[Any]:
        if any(details.get(name) for name in ("letters", "codes", "ids", "dead_letters")):
            letters = _chosen(reader.dead_letters(), details)
            if not letters:
                raise refuse(409, "no-letters", "no dead letter of this task matches; `errors` lists them")
            size = len(msgspec.json.encode(letters))
            if size > MAX_REPLAY:
                limit = f"at most {MAX_REPLAY >> 10} KiB of records can be replayed at once, these are {size >> 10}"
                raise refuse(413, "too-many-letters", f"{limit}; replay some of them by --id or --code")
            run = _run_name("letters", reader, f"{reader.id}|{key}")
            return [wish("letters", {"letters": letters}, run)]
        state = reader.state()[0]
        policy = {
            k: details[k]
            for k in ("strategy", "attempts", "delay", "max_delay")
            if details.get(k) is not None
        }
        facts = [wish("retry-policy", {"retry": policy})] if policy else []
        runs = [run for run in reader.runs() if run.state in ("failed", "cancelled", "partial")]
        if state in ("failed", "cancelled", "scheduled", "partial") and (runs or state == "cancelled"):
            origin = runs[-1].id if runs and runs[-1].state != "partial" else ""
            replay = next(
                (r for r in reader.desired.requests if r.kind == "letters" and r.run == origin), None
            )
            kind, values = ("letters", replay.arguments) if replay else ("retry", {"origin": origin})
            facts.append(wish(kind, values, _run_name(kind, reader, f"{reader.id}|{key}")))
        elif not policy:
            raise refuse(409, "not-failed", f"the task is {state}; only failed or cancelled runs are retried")
        return facts


def _outrun(submission: Submission) -> Refused:
    """Another request has the key or the name. Where two replicas take one each at the same moment, each hears of
    the other's while it waits for the second disk, or later; then the task's `warnings` say so.
    """
    if submission.name is None:
        return refuse(409, "key-reused", "this Idempotency-Key was used for another request; use a new key")
    detail = f"task {submission.name} was submitted with another spec at the same time; read it, and change it with PUT"
    return refuse(409, "other-spec", detail)


def _run_name(kind: str, reader: TaskReader, key: str) -> str:
    """A name after those of all runs of the task that are known here."""
    known = {*reader.facts.runs, *(request.run for request in reader.desired.requests)}
    revision = reader.desired.revision + 1
    return operations.run_name(
        kind, reader.entry.tenant, key, now_ms=wall_ms(), revision=revision, known=known
    )


def _chosen(letters: list[DeadLetterItem], details: dict[str, Any]) -> list[dict[str, Any]]:
    """The letters to replay: those given (edited or not, only ones that are listed), or those that match."""
    listed = {letter.id: letter for letter in letters}
    if details.get("letters"):
        return [
            {"id": item.get("id", ""), "record": item.get("record")}
            for item in details["letters"]
            if item.get("id") in listed
        ]
    codes, ids = set(details.get("codes") or ()), set(details.get("ids") or ())
    return [
        {"id": letter.id, "record": letter.record}
        for letter in letters
        if (not codes or letter.code in codes) and (not ids or letter.id in ids)
    ]


def _identity(spec: TaskSpec) -> Any:
    """What makes another result of it: a change of these begins a new generation."""
    covers = None if spec.range is None else spec.range.field  # coverage speaks of its values
    return (spec.source, spec.sink, spec.transform, spec.mode, spec.incremental, covers)


def _without_range(spec: TaskSpec) -> dict[str, Any]:
    """A named task submitted again for another part of its range is the same task."""
    shown: dict[str, Any] = msgspec.to_builtins(spec)
    if spec.range is not None:
        shown["range"] = spec.range.field
    return shown


def _difference(first: TaskSpec, second: TaskSpec) -> str:
    """The fields in which two specs differ."""
    a, b = msgspec.to_builtins(first), msgspec.to_builtins(second)
    names = sorted(key for key in {*a, *b} if a.get(key) != b.get(key))
    return ", ".join(f"{name} is {a.get(name)!r}, submitted {b.get(name)!r}" for name in names)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
