"""The joined meaning of facts does not depend on their order, nor on how often they came."""

import random

from hypothesis import given
from hypothesis import strategies as st

from state import join
from state.entries import RunFacts
from state.envelope import Writer
from state.model import Ended, Live, Plan, PlannedShard, Progress, RunFact, Wish

KINDS = [
    "pause",
    "resume",
    "cancel",
    "delete",
    "undelete",
    "priority",
    "run",
    "retry",
    "replace",
    "later-kind",
]
WISHES = st.lists(
    st.builds(
        lambda revision, kind, at, by, n: Wish(
            revision, kind, at, [0], by, {"priority": n, "spec": b"%d" % n, "generation": n % 2}, f"run-{n}"
        ),
        st.integers(1, 6),
        st.sampled_from(KINDS),
        st.integers(1, 3),
        st.sampled_from(["ann", "bob"]),
        st.integers(0, 3),
    ),
    max_size=8,
)
TOKENS = st.tuples(st.integers(1, 3), st.sampled_from(["a", "b"]), st.integers(1, 2))
STATES = st.sampled_from(["running", "failed", "cancelled", "partial", "succeeded"])


def wish(revision: int, kind: str, **arguments: object) -> Wish:
    return Wish(revision, kind, revision * 10, [0], "ann", arguments, str(arguments.get("run", "")))


@given(WISHES, st.randoms(use_true_random=False))
def test_wishes_join_alike_in_any_order_and_number(wishes: list[Wish], rng: random.Random) -> None:
    expected = join.desired(wishes)
    shuffled = wishes + rng.choices(wishes, k=3) if wishes else []
    rng.shuffle(shuffled)
    assert join.desired(shuffled) == expected


@given(WISHES)
def test_cancel_is_absorbing(wishes: list[Wish]) -> None:
    """No wish of any kind brings back a run that was asked for before a cancel."""
    cancelled = join.desired([*wishes, wish(9, "cancel")])
    assert all(cancelled.cancelled(request) for request in cancelled.requests)
    later = join.desired(
        [
            *wishes,
            wish(9, "cancel"),
            wish(10, "resume"),
            wish(10, "undelete"),
            wish(10, "priority", priority=9),
        ]
    )
    assert all(later.cancelled(request) for request in later.requests)
    assert later.cancelled(join.Request("submit", 0, 0, "run"))


def test_a_run_asked_for_after_the_cancel_is_not_cancelled() -> None:
    wanted = join.desired([wish(2, "run", run="again"), wish(1, "cancel")])
    assert [request.run for request in wanted.requests] == ["again"]
    assert not wanted.cancelled(wanted.requests[0])


def test_delete_cancels_and_undelete_only_shows_again() -> None:
    deleted = join.desired([wish(1, "delete")])
    assert deleted.deleted
    assert deleted.cancelled_at == 1
    back = join.desired([wish(2, "undelete"), wish(1, "delete")])
    assert not back.deleted
    assert back.cancelled_at == 1


def test_the_later_of_pause_and_resume_counts() -> None:
    assert join.desired([wish(1, "pause")]).paused
    assert not join.desired([wish(2, "resume"), wish(1, "pause")]).paused
    assert join.desired([wish(2, "resume"), wish(3, "pause"), wish(1, "pause")]).paused


def test_a_replaced_spec_drops_what_was_set_on_the_old_one() -> None:
    wanted = join.desired([wish(1, "priority", priority=9), wish(2, "replace", spec=b"{}", generation=1)])
    assert (wanted.priority, wanted.spec, wanted.spec_revision, wanted.generation) == (None, b"{}", 2, 1)


def test_a_repeated_request_is_one_run_of_its_first_revision() -> None:
    wanted = join.desired([wish(5, "run", run="x"), wish(2, "run", run="x"), wish(3, "run", run="y")])
    assert [(request.run, request.revision) for request in wanted.requests] == [("x", 2), ("y", 3)]


@given(
    st.lists(st.tuples(TOKENS, STATES), min_size=1, unique=True, max_size=6),
    st.randoms(use_true_random=False),
)
def test_ends_runs_and_plans_join_alike_in_any_order(
    facts: list[tuple[tuple[int, str, int], str]], rng: random.Random
) -> None:
    ends = [Ended("0", token, state, at_ms=n) for n, (token, state) in enumerate(facts)]
    runs = [RunFact(token, state, 1, 1, n) for n, (token, state) in enumerate(facts)]
    folded = ends[0]
    for end in ends[1:]:
        folded = join.better_end(folded, end)
    expected_run = join.run_fact(runs)
    assert expected_run is not None
    for _ in range(3):
        rng.shuffle(ends)
        rng.shuffle(runs)
        again = ends[0]
        for end in ends[1:]:
            again = join.better_end(end, again)
        assert again == folded
        assert join.run_fact(runs) == expected_run
    if any(fact.state in join.TERMINAL for fact in runs):
        assert expected_run.state in join.TERMINAL
    if any(fact.state == "succeeded" for fact in runs):
        assert (expected_run.state, folded.state) == ("succeeded", "succeeded")


@given(st.lists(TOKENS, min_size=1, unique=True, max_size=5))
def test_the_plan_of_the_lowest_token_counts(tokens: list[tuple[int, str, int]]) -> None:
    run = RunFacts()
    for token in tokens:
        run.plans[Writer(str(token))] = Plan(token, [PlannedShard(str(token))])
    plan = join.plan_of(run)
    assert plan is not None
    assert plan.token == min(tokens)


def test_what_ended_is_not_live() -> None:
    run = RunFacts()
    run.live[Writer("a.1")] = Progress({"0": Live((1, "a", 1), "running"), "1": Live((1, "a", 1), "running")})
    run.live[Writer("b.1")] = Progress({"0": Live((2, "b", 1), "leased")})
    run.ended["1"] = Ended("1", (1, "a", 1), "succeeded")
    assert {key: live.token for key, live in join.live_shards(run).items()} == {"0": (2, "b", 1)}
