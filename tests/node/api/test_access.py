"""The file with the token of the API: what nobody could send, or anybody could, is refused before the node listens."""

import logging
from pathlib import Path

import pytest

from node.api.access import ExposureError, read_token


@pytest.mark.parametrize(
    "text", [b"", b"\n \n", b"two words\n", b"one\ntwo\n", b"\xff\xfe\n", "schl\u00fcssel".encode()]
)
def test_a_file_without_one_token_is_refused(tmp_path: Path, text: bytes) -> None:
    """An empty one let in whoever sent `Authorization: Bearer` and nothing more."""
    path = tmp_path / "token"
    path.write_bytes(text)
    with pytest.raises(ExposureError, match=r"http\.token_file .*token holds no token: one line"):
        read_token(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExposureError, match=r"http\.token_file .* cannot be read: Is a directory"):
        read_token(tmp_path)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o440, False), (0o644, True)])
def test_a_token_that_all_can_read_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, *, warned: bool
) -> None:
    path = tmp_path / "token"
    path.write_text("secret\n")
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        assert read_token(path) == "secret"
    assert ("chmod 600" in caplog.text) == warned
    assert "secret" not in caplog.text
