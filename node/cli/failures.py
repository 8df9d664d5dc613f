"""What a user reads when a command fails, and the exit code that scripts read."""

from typing import Any

import msgspec

from node.schema import Problem

OK, FAILED, USAGE, PARTLY, UNREACHABLE = 0, 1, 2, 3, 4


class Failure(Exception):
    """The command ends with this text on stderr and this exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


def problem_text(problem: Problem) -> str:
    """The problem and each of its errors: pointer, value, what is allowed, the remedy."""
    lines = [f"{problem.title}: {problem.detail}" if problem.detail != problem.title else problem.title]
    for item in problem.errors:
        value = "" if item.value is None else f" = {_json(item.value)}"
        lines.append(f"  {item.pointer or '/'}{value}: {item.message}")
        if item.allowed is not None:
            lines.append(f"      allowed: {_allowed(item.allowed)}")
        if item.remedy:
            lines.append(f"      remedy: {item.remedy}")
    if problem.state_changed:
        lines.append("  part of the request was carried out")
    if problem.request_id:
        lines.append(f"  request {problem.request_id}")
    return "\n".join(map(clean, lines))


def clean(text: str) -> str:
    """`text` without the control characters that a terminal would obey."""
    return "".join(c if c.isprintable() else "·" for c in text)


def _allowed(value: Any) -> str:
    return (
        ", ".join(v if isinstance(v, str) else _json(v) for v in value)
        if isinstance(value, list)
        else _text(value)
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
