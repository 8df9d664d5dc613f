"""The figures of membership in small: no worse than what is known of the protocol (docs/membership.md)."""

from statistics import median

from tests.sim.membership_figures import measure


def test_ten_members_without_loss() -> None:
    figures = measure(10, 0.0, range(2), "lan")
    assert median(figures.idle) <= 2.07 * 1.05
    assert median(figures.everybody) <= 0.29 * 1.5
    assert 1.0 <= median(figures.suspected) <= 3.5
    assert 5.0 <= median(figures.dead) <= 8.0
    assert max(figures.known) <= 11.0
    assert (figures.false_deaths, sum(figures.stalled)) == (0, 0)
    assert len(figures.healed) == 2
    assert max(figures.healed) <= 60.0
