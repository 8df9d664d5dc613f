"""Problems as text."""

from node.cli.failures import clean, problem_text
from node.schema import Problem, ProblemItem


def test_a_problem_lists_every_error_with_value_allowed_and_remedy() -> None:
    problem = Problem(
        type="about:blank",
        title="Invalid request",
        status=422,
        detail="the task has 2 errors",
        request_id="r-1",
        errors=[
            ProblemItem(
                pointer="/mode",
                message="unknown mode",
                value="ful",
                allowed=["full", "range"],
                remedy="write full",
            ),
            ProblemItem(pointer="/source", message="is missing"),
        ],
    )
    assert problem_text(problem).splitlines() == [
        "Invalid request: the task has 2 errors",
        '  /mode = "ful": unknown mode',
        "      allowed: full, range",
        "      remedy: write full",
        "  /source: is missing",
        "  request r-1",
    ]


def test_what_was_changed_is_said() -> None:
    problem = Problem(type="t", title="Busy", status=503, detail="Busy", state_changed=True)
    assert problem_text(problem) == "Busy\n  part of the request was carried out"


def test_text_from_elsewhere_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[2Jb\rc") == "a·[2Jb·c"
