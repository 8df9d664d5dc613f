"""Secrets: where values come from, who may read them, and that they do not get out."""

import json
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from node.execution.failures import LONGEST_MESSAGE, failure
from node.execution.secrets import Secrets, scrub, scrub_record
from plugins.api import Permanent, Retryable
from plugins.options import MASK


def test_values_come_from_the_environment_first_then_from_a_private_file(tmp_path: Path) -> None:
    for name in ("ONE", "TWO"):
        (tmp_path / name).write_text(f"file-{name}\n")
        (tmp_path / name).chmod(0o600)
    secrets = Secrets(tmp_path, {"COLLECT_SECRET_ONE": "env-one", "PATH": "x"})
    assert (secrets.get("ONE"), secrets.get("TWO")) == ("env-one", "file-TWO")
    assert secrets.names() == {"ONE", "TWO"}
    assert Secrets(tmp_path / "absent", {}).names() == frozenset()


def test_a_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_text("canary")
    (tmp_path / "KEY").chmod(0o640)
    with pytest.raises(Retryable, match="chmod 600") as caught:
        Secrets(tmp_path, {}).get("KEY")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["../etc/passwd", "", ".hidden", "a/b", "a b", "x" * 65])
def test_names_cannot_be_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(Permanent, match="not a name"):
        Secrets(tmp_path, {}).get(name)


def test_a_missing_value_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match=r"COLLECT_SECRET_KEY.*secrets/KEY.*0600"):
        Secrets(tmp_path, {}).get("KEY")


def test_scrubbing_takes_the_longest_first_and_goes_into_records() -> None:
    secrets = {"abc", "abcdef"}
    assert scrub("abcdef abc", secrets) == "*** ***"
    record = {"abc": ["x abcdef", 5, None, {"k": "abc"}]}
    assert scrub_record(record, secrets) == {"***": ["x ***", 5, None, {"k": "***"}]}


VALUE = "S3cr/et Canary+7"


@pytest.mark.parametrize(
    "said",
    [
        VALUE,
        VALUE.lower(),
        VALUE.upper(),
        quote(VALUE),
        quote(VALUE, safe=""),
        quote_plus(VALUE),
        json.dumps({"k": VALUE}),
        repr(VALUE),
        *(b64encode(f"{user}:{VALUE}".encode()).decode() for user in ("", "u", "us", "use")),
        *(b64encode(f"{'u' * before}{VALUE}:{VALUE}".encode()).decode() for before in range(3)),
        urlsafe_b64encode(f"user:{VALUE}".encode()).decode(),
    ],
)
def test_a_secret_is_known_in_the_forms_in_which_servers_give_it_back(said: str) -> None:
    """A server that answers with the headers it got told the credentials of `basic` to all who may read errors."""
    found = scrub(f"401: you sent {said}; go away", {VALUE, "other"})
    assert MASK in found
    for piece in ("s3cr", "canary", "UzNjci", "M2NyL2V0", "NjcmV0", b64encode(VALUE.encode()).decode()[4:16]):
        assert piece.lower() not in found.lower().replace(MASK, ""), found
    assert found.startswith("401: you sent ")
    assert found.endswith("; go away")


def test_the_beginning_of_a_secret_that_was_cut_is_taken_out() -> None:
    for length in range(4, len(VALUE)):
        assert scrub(f"bad key {VALUE[:length]}", {VALUE}) == f"bad key {MASK}"
    assert scrub("bad key S3", {VALUE}) == "bad key S3"
    assert scrub("", {VALUE}) == ""


def test_short_secrets_are_taken_out_as_they_are() -> None:
    assert scrub("a A ab", {"a"}) == "*** A ***b"


def test_a_failure_is_short_and_clean_and_names_the_step() -> None:
    found = failure(OSError(28, "No space left on device", "/data/abc"), "sink jsonl", {"abc"})
    assert (found.code, found.retryable) == ("disk-full", True)
    assert found.message.startswith("sink jsonl: ")
    assert "abc" not in found.message
    assert len(failure(ValueError("x" * 10_000), "", ()).message) == LONGEST_MESSAGE


def test_a_folder_that_cannot_be_read_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended what tells the others of this node, and each submit was a failure of the node."""

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert Secrets(tmp_path, {"COLLECT_SECRET_A": "x"}).names() == {"A"}
