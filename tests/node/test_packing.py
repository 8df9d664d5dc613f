"""Messages to other regions are deflated, within bounds."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import messages
from node.messages import PACKED, VERSION, BadMessage, Digest, Envelopes, decode, encode


@given(st.lists(st.binary(max_size=2000), max_size=20), st.booleans())
def test_packed_or_not_it_is_the_same_message(items: list[bytes], packed: bool) -> None:
    message = Envelopes(items)
    assert decode(encode(message, packed=packed)) == message


def test_only_what_gains_by_it_is_packed() -> None:
    assert encode(Digest(b"x" * 16), packed=True)[0] == VERSION
    spec = (
        b'{"source":{"plugin":"http","url":"https://api.example.com/v1/things"},"sink":[{"plugin":"jsonl"}]}'
    )
    plain, packed = encode(Envelopes([spec] * 50)), encode(Envelopes([spec] * 50), packed=True)
    assert packed[0] == PACKED
    assert 5 * len(packed) < len(plain)


def test_a_bomb_is_refused_before_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_UNPACKED", 1 << 16)
    for size in (1 << 17, 1 << 24):
        with pytest.raises(BadMessage, match="more than"):
            decode(bytes((PACKED,)) + zlib.compress(bytes(size)))


def test_what_is_not_deflated_is_refused() -> None:
    rng = random.Random(1)
    whole = encode(Envelopes([rng.randbytes(2000)]), packed=True)
    for data in (
        bytes((PACKED,)),
        bytes((PACKED,)) + rng.randbytes(100),
        whole[:-1],
        whole[: len(whole) // 2],
    ):
        with pytest.raises(BadMessage):
            decode(data)
