import pytest
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from node.security.keys import ClusterKey, from_base32
from node.security.token import BadToken, JoinToken, OneTimeToken, _text, parse_token

KEY = ClusterKey(bytes(range(32)))
TOKEN = JoinToken(("192.0.2.1:8703", "[fd00::1]:8703"), KEY)


def test_a_token_is_one_word_and_comes_back_whole() -> None:
    text = TOKEN.text()
    assert text.startswith("cm1-")
    assert text.isprintable()
    assert " " not in text
    assert parse_token(f"  {text}\n") == TOKEN
    assert parse_token(text.upper().replace("CM1-", "cm1-")) == TOKEN
    assert repr(KEY.secret) not in repr(TOKEN)


@given(st.integers(4, len(TOKEN.text()) - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567!"))
def test_any_changed_character_is_found(position: int, character: str) -> None:
    text = TOKEN.text()
    changed = text[:position] + character + text[position + 1 :]
    if parse_or_none(changed) is not None:
        assert parse_token(changed) == TOKEN  # the same letter, or padding bits that carry nothing


def parse_or_none(text: str) -> JoinToken | OneTimeToken | None:
    try:
        return parse_token(text)
    except BadToken:
        return None


@given(st.text(max_size=200))
def test_nonsense_is_a_clear_error(text: str) -> None:
    for candidate in (text, f"cm1-{text}"):
        with pytest.raises(BadToken, match="token"):
            parse_token(candidate)


@pytest.mark.parametrize("cut", range(4, len(TOKEN.text()) - 1))
def test_a_cut_token_is_found(cut: int) -> None:
    with pytest.raises(BadToken):
        parse_token(TOKEN.text()[:cut])


def test_a_one_time_token_comes_back_whole_and_holds_no_cluster_key() -> None:
    once = OneTimeToken(("192.0.2.1:8703",), b"s" * 16, KEY.join_server.public, KEY.mesh_id)
    text = once.text()
    assert parse_token(text) == once
    body = from_base32(text.removeprefix("cm1-"))
    assert KEY.secret not in body
    assert z85.decode(KEY.join_server.secret) not in body
    assert repr(b"s" * 16) not in repr(once)


def test_a_rotated_key_travels_in_a_token_too() -> None:
    token = JoinToken(("192.0.2.1:8703",), KEY.rotated())
    assert parse_token(token.text()) == token


@pytest.mark.parametrize(
    "body",
    [
        (1, b"short", ("a:1",), b"k" * 32, b"m" * 8),
        (1, b"s" * 16, ("a:1",), b"k" * 31, b"m" * 8),
        (1, b"s" * 16, (), b"k" * 32, b"m" * 8),
        (1, b"s" * 16, ("a:1",)),
        (1, 7, 8, 9, 10),
        (3, b"", ()),
        (0, b"x", ("a:1",)),
        (0, b"x" * 32, ("no address",)),
        (),
    ],
)
def test_bodies_of_another_form_are_refused(body: tuple[object, ...]) -> None:
    with pytest.raises(BadToken, match="join token"):
        parse_token(_text(body))
