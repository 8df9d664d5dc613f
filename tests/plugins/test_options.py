from typing import Literal

import msgspec
import pytest

from plugins.api import Retryable
from plugins.options import InvalidOption, MaybeSecret, OptionErrors, Secret, decode, resolve, schema, secrets

CANARY = "canary-8f2e"


class Page(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    size: int
    by: Literal["page", "cursor"] = "page"


class Sample(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    path: str
    token: Secret | None = None
    headers: dict[str, MaybeSecret] = {}
    pages: list[Page] = []
    limit: int = 1

    def __post_init__(self) -> None:
        if self.limit == 13:
            raise InvalidOption("limit", "is unlucky", allowed="any other", remedy="take 14")


GOOD = {
    "path": "a",
    "token": {"secret": "T"},
    "headers": {"Accept": "json", "Authorization": {"secret": "A"}},
    "pages": [{"size": 5}],
}


def test_decode_keeps_names_and_resolve_puts_values() -> None:
    assert decode(Sample, GOOD).token == "T"
    assert secrets(Sample, GOOD) == ["A", "T"]
    found = resolve(Sample, GOOD, {"T": "t!", "A": "a!"}.get)
    assert (found.token, found.headers) == ("t!", {"Accept": "json", "Authorization": "a!"})
    assert found.pages == [Page(size=5)]
    with pytest.raises(Retryable, match="'A'"):
        resolve(Sample, GOOD, {"T": "t!"}.get)


def test_every_error_has_its_place_and_its_remedy() -> None:
    with pytest.raises(OptionErrors) as caught:
        decode(
            Sample,
            {
                "pth": "a",
                "token": CANARY,
                "headers": {"a/b": 3},
                "pages": [{"size": 1}, {"size": "x", "by": "pgae"}, 7],
                "limit": "2",
            },
        )
    found = {problem.pointer: problem for problem in caught.value.problems}
    assert set(found) == {
        "/pth",
        "/path",
        "/token",
        "/headers/a~1b",
        "/pages/1/size",
        "/pages/1/by",
        "/pages/2",
        "/limit",
    }
    assert found["/pth"].remedy == "did you mean path?"
    assert found["/path"].message == "is missing"
    assert found["/token"].value == "***"
    assert found["/pages/1/by"].allowed == ["cursor", "page"]
    assert found["/limit"].value == "2"
    assert found["/limit"].allowed == "integer"
    assert CANARY not in repr(caught.value.problems)
    assert CANARY not in str(caught.value)


def test_a_plugin_may_refuse_a_value_itself() -> None:
    with pytest.raises(OptionErrors) as caught:
        decode(Sample, {"path": "a", "limit": 13})
    (problem,) = caught.value.problems
    assert (problem.pointer, problem.value, problem.remedy) == ("/limit", 13, "take 14")


@pytest.mark.parametrize("value", [{"secret": 3}, {"secret": ""}, {"secret": "A", "x": 1}, ["a"], "plain"])
def test_a_secret_is_a_name_and_nothing_else(value: object) -> None:
    with pytest.raises(OptionErrors) as caught:
        decode(Sample, {"path": "a", "token": value})
    assert [problem.pointer for problem in caught.value.problems] == ["/token"]


def test_schema_shows_secrets_as_a_task_gives_them() -> None:
    found = schema(Sample)
    assert found["additionalProperties"] is False
    assert found["properties"]["token"]["anyOf"][0]["required"] == ["secret"]
    assert {"type": "string"} in found["properties"]["headers"]["additionalProperties"]["anyOf"]
    assert found["properties"]["pages"]["items"] == {"$ref": "#/$defs/Page"}
    assert found["required"] == ["path"]
