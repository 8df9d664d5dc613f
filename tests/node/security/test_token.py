import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.security.keys import ClusterKey
from node.security.token import BadToken, JoinToken, parse_token

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


def parse_or_none(text: str) -> JoinToken | None:
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
