"""Which node a command speaks to."""

from pathlib import Path

import pytest

from node.cli.contexts import DEFAULT_URL, Target, target
from node.cli.failures import USAGE, Failure


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / ".config" / "collect"
    folder.mkdir(parents=True)
    (tmp_path / "token").write_text("from-file\n")
    (folder / "contexts.toml").write_text(
        'current = "lab"\n[contexts.lab]\nurls = ["lab:1", "http://lab:2/"]\n'
        f'[contexts.prod]\nurls = ["https://prod"]\ntoken_file = "{tmp_path}/token"\n'
    )
    return {"HOME": str(tmp_path)}


def test_default(tmp_path: Path) -> None:
    assert target((), None, None, {"HOME": str(tmp_path)}) == Target((DEFAULT_URL,), None)


def test_precedence(home: dict[str, str]) -> None:
    assert target((), None, None, home) == Target(("http://lab:1", "http://lab:2"), None)
    environ = {**home, "COLLECT_URL": "a:1,b:2 http://c", "COLLECT_TOKEN": "env"}
    assert target((), None, None, environ) == Target(("http://a:1", "http://b:2", "http://c"), "env")
    assert target((), None, "prod", environ) == Target(("https://prod",), "from-file")
    token = Path(home["HOME"], "token")
    assert target(("x:9",), token, None, environ) == Target(("http://x:9",), "from-file")


def test_the_token_of_the_current_context_goes_to_its_nodes_alone(home: dict[str, str]) -> None:
    path = Path(home["HOME"], ".config/collect/contexts.toml")
    path.write_text(path.read_text().replace('"lab"', '"prod"', 1))
    assert target((), None, None, home) == Target(("https://prod",), "from-file")
    assert target(("x:9",), None, None, home).token is None
    assert target((), None, None, {**home, "COLLECT_URL": "x:9"}).token is None
    assert target(("x:9",), None, "prod", home) == Target(("http://x:9",), "from-file"), "it was asked for"
    path.write_text("no contexts")
    assert target(("x:9",), None, None, home).urls == ("http://x:9",)


@pytest.mark.parametrize(
    ("urls", "context", "part"),
    [
        (("ftp://x",), None, "not the URL"),
        ((), "absent", "known: lab, prod"),
        (("http://",), None, "not the URL"),
        (("h:99999",), None, "not the URL"),
        (("http://[",), None, "not the URL"),
    ],
)
def test_refusals(home: dict[str, str], urls: tuple[str, ...], context: str | None, part: str) -> None:
    with pytest.raises(Failure, match=part) as caught:
        target(urls, None, context, home)
    assert caught.value.code == USAGE


def test_unusable_files(home: dict[str, str]) -> None:
    empty = Path(home["HOME"], "empty")
    empty.write_text("\n")
    with pytest.raises(Failure, match="one line with the token"):
        target((), empty, None, home)
    with pytest.raises(Failure, match="COLLECT_TOKEN must hold one line") as caught:
        target((), None, None, {**home, "COLLECT_TOKEN": "canary\nx"})
    assert "canary" not in str(caught.value)
    with pytest.raises(Failure, match="cannot be read"):
        target((), empty / "no", None, home)
    Path(home["HOME"], ".config/collect/contexts.toml").write_text("[contexts.a]\nurl = 1\n")
    with pytest.raises(Failure, match="unknown field"):
        target((), None, None, home)
