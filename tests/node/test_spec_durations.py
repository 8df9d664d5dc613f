import pytest

from node.durations import duration, rate, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (3, 3),
    ],
)
def test_duration(text: str | float, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("64MiB", 64 << 20), ("1kB", 1000), ("1.5KiB", 1536), ("12", 12), (7, 7), ("3 gb", 3 * 10**9)],
)
def test_size(text: str | float, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize(("text", "per_second"), [("50/s", 50), ("600/m", 10), ("3600/h", 1), (2.5, 2.5)])
def test_rate(text: str | float, per_second: float) -> None:
    assert rate(text) == per_second


@pytest.mark.parametrize("parse", [duration, size, rate])
@pytest.mark.parametrize(
    "text", ["", "fast", "-1s", "1/", "10x", "٣s", "1e400", -1, float("nan"), float("inf")]
)
def test_what_is_no_amount_is_refused_with_what_is_allowed(parse: object, text: str | float) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse(text)  # type: ignore[operator]


def test_a_rate_of_zero_would_never_end() -> None:
    with pytest.raises(ValueError, match="above zero"):
        rate("0/s")
