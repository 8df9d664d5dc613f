"""When replicas differ, and what is said of it."""

from node.verification.comparing import Batches, behind, diverged, gone, most, unequal

A, B, C = (b"heads", b"one"), (b"heads", b"two"), (b"other", b"three")


def owners(_: int) -> list[str]:
    return ["a", "b", "c"]


def test_only_slots_on_which_replicas_that_answered_differ_are_unequal() -> None:
    views = {"a": {1: A, 2: A, 3: A}, "b": {1: A, 2: B}, "z": {1: C}}
    assert unequal(views, owners) == [2, 3]  # c did not answer, z is no replica of 1, and b lacks all of 3


def test_who_lacks_what_was_known_is_named_with_the_envelopes() -> None:
    known = most([{"w.1": 4, "x.1": 2}, {"w.1": 7}])
    assert known == {"w.1": 7, "x.1": 2}
    now = {"a": {"w.1": 9, "x.1": 2}, "b": {"w.1": 4, "x.1": 3}, "c": {"w.1": 7}}
    found = behind(10, known, now)
    assert [(f.node, f.slot, f.what) for f in found] == [
        ("b", "00a", "lacks envelopes 5 to 7 of w.1"),
        ("c", "00a", "lacks envelopes 1 to 2 of x.1"),
    ]


def test_replicas_with_other_heads_are_not_called_diverged() -> None:
    assert diverged(1, {"a": A, "b": C}) == []
    assert diverged(1, {"a": A, "b": A, "c": C}) == []


def test_replicas_that_differ_under_equal_heads_are_told_loudly() -> None:
    (found,) = diverged(1, {"a": A, "b": B, "c": C})
    assert found.kind == "content"
    assert "replicas differ under equal heads (a: 6f6e65, b: 74776f)" in found.what


def test_an_archived_batch_that_a_replica_does_not_know_is_gone_from_it() -> None:
    rows: list[tuple[str, int | None]] = [("alive", 50), ("gone", 50), ("kept", None), ("over", 10)]
    views: dict[str, dict[int, Batches]] = {
        "a": {1: (0, rows, []), 2: (0, [("x", 50)], [])},
        "b": {1: (20, [("other", 60)], ["alive"])},
        "z": {1: (0, [], [])},
    }
    assert gone(views, owners) == {  # b may have let go of `over`, z is no replica, nobody holds 2 but a
        (1, "b", "gone"): "a",
        (1, "b", "kept"): "a",
        (1, "a", "other"): "b",
    }
