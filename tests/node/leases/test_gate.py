"""Which jobs an executor runs under a slot's lease: only those that their own steward confirms."""

import msgspec

from gossip.identity import NodeId
from node import messages
from node.effects import Send
from node.execution.jobs import Job, JobKey
from node.leases.gate import Gate

TTL = 5.0
TASK = "local-a10-6222l2gvbeql7000"
ONE, OTHER = NodeId("one"), NodeId("other")


def jobs(*shards: str) -> list[Job]:
    """Of one task."""
    return [
        Job(key=JobKey(TASK, "run", "shard", shard), tenant="t", spec=b"{}", token=(1, "one", 1), pause=True)
        for shard in shards
    ]


def asked(gate: Gate, now: float) -> dict[NodeId, messages.PauseAsk]:
    found = {}
    for effect in gate.tick(now):
        assert isinstance(effect, Send)
        assert isinstance(effect.message, messages.PauseAsk)
        found[effect.to] = effect.message
    return found


def answer(ask: messages.PauseAsk, *strays: Job) -> messages.PauseTold:
    return messages.PauseTold(ask.stamp, dict.fromkeys(ask.slots, TTL), [job.key for job in strays])


def test_a_job_that_went_to_another_does_not_begin_with_the_others() -> None:
    kept, stray = jobs("p", "q")
    gate = Gate(TTL)
    gate.add(kept, ONE, 0.0)
    gate.add(stray, ONE, 0.0)
    ask = asked(gate, 0.1)[ONE]
    assert ask.jobs == sorted((kept.key, stray.key))
    gate.told(ONE, answer(ask, stray), 0.2)
    assert gate.ready == [kept]
    assert gate.waits(stray.key)


def test_what_one_steward_grants_is_not_for_the_jobs_of_another() -> None:
    mine, old = jobs("p", "q")
    gate = Gate(TTL)
    gate.add(mine, ONE, 0.0)
    gate.add(old, OTHER, 0.0)
    gate.told(ONE, answer(asked(gate, 0.1)[ONE]), 0.2)
    assert gate.ready == [mine]


def test_an_answer_to_a_question_from_before_a_job_came_is_not_for_it() -> None:
    first, late = jobs("p", "q")
    gate = Gate(TTL)
    gate.add(first, ONE, 0.0)
    ask = asked(gate, 0.1)[ONE]
    gate.add(late, ONE, 0.2)
    gate.told(ONE, answer(ask), 0.3)
    assert gate.ready == [first]


def plain(*fields: object) -> object:
    """What a message of these fields is understood as."""
    return messages.decode(bytes((messages.VERSION,)) + msgspec.msgpack.encode(fields))


def test_versions_that_do_not_name_jobs_are_understood() -> None:
    ask = plain("PauseAsk", 1.5, [7])
    assert ask == messages.PauseAsk(1.5, [7], [])
    told = plain("PauseTold", 1.5, {7: 2.0})
    assert told == messages.PauseTold(1.5, {7: 2.0}, [])
