"""Refusals as RFC 9457 problems: one way to build them, one way to raise them."""

from collections.abc import Sequence
from http import HTTPStatus

from node.schema import Problem, ProblemItem
from node.service import Refused
from node.spec.problems import MOST

PREFIX = "urn:collect-node:problem:"


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    errors: Sequence[ProblemItem] = (),
    title: str | None = None,
    state_changed: bool = False,
) -> Problem:
    """`kind`: a short stable word that programs can test (the last part of `type`)."""
    return Problem(
        type=PREFIX + kind,
        title=title or HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=list(errors),
        state_changed=state_changed,
    )


def refuse(status: int, kind: str, detail: str, *, errors: Sequence[ProblemItem] = ()) -> Refused:
    """A `Refused` to raise."""
    return Refused(problem(status, kind, detail, errors=errors))


def invalid(errors: Sequence[ProblemItem], what: str = "the task") -> Refused:
    """The refusal of a request whose content has these errors."""
    return Refused(
        problem(422, "invalid", count_errors(errors, what), errors=errors, title="Invalid request")
    )


def count_errors(errors: Sequence[ProblemItem], what: str) -> str:
    """One sentence over all the errors; of very many only the first are known."""
    more = "at least " if len(errors) >= MOST else ""
    number = "one error" if len(errors) == 1 else f"{more}{len(errors)} errors"
    return f"{what} has {number}: {errors[0].pointer or '/'}: {errors[0].message}"


def bad_parameter(name: str, message: str, *, value: str | None = None, allowed: object = None) -> Refused:
    """The refusal of a query parameter or header."""
    item = ProblemItem(pointer="", message=f"{name}: {message}", value=value, allowed=allowed)
    return Refused(problem(400, "parameter", item.message, errors=[item], title="Invalid parameter"))
