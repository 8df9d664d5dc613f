"""Each decoder and parser with input made to hurt; a short form of `make fuzz`, the same each time."""

import random

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from gossip.codec import unpack
from node import messages
from node.spec import SpecChecker
from state import envelope
from tests.fuzz.corpus import SOUND, draw
from tests.fuzz.targets import TARGETS
from tests.node.plugs import facts, registry

COSTLY = {"acceptance": 20, "toml": 60}


def test_the_sound_input_is_sound() -> None:
    """Else nothing beyond the first check would ever be reached."""
    for data in SOUND["message"]:
        assert messages.encode(messages.decode(data)) == data
    for data in SOUND["gossip"]:
        assert unpack(data).messages
    for data in SOUND["envelopes"]:
        assert envelope.decode(data).seq == 1
    checker = SpecChecker(registry(), facts())
    for data in SOUND["spec"]:
        assert checker.check_line(data).data


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_but_the_documented_error(name: str) -> None:
    rng, target = random.Random(name), TARGETS[name]
    for _ in range(COSTLY.get(name, 400)):
        data = draw(name, rng)
        try:
            target(data)
        except BaseException as error:
            pytest.fail(f"{name}: {data[:300]!r}: {type(error).__name__}: {error}")


@pytest.mark.parametrize("name", sorted(set(TARGETS) - set(COSTLY)))
@seed(1)
@settings(max_examples=60, deadline=None, database=None, derandomize=False)
@given(data=st.binary(max_size=120))
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        # a lone surrogate as a name, and unknown fields nested beyond any recursion
        ("hello", b"\x93\x01\x01\x97\xc4\x28" + b"a" * 40 + b"\x00\xa3\xed\xa0\x80\xa0\xa0\xa0\xc2"),
        ("hello", b"\x94\x01\x01\x97\xc4\x28" + b"a" * 40 + b"\x00\xa0\xa0\xa0\xa0\xc2" + b"\x91" * 3000),
        ("rosters", b"\x92\x01\x91\x97\xc4\x28" + b"a" * 40 + b"\x00\xa3\xed\xa0\x80\xa0\xa0\xa0\xc2"),
        ("envelopes", b"\x96\x01\x93\x01\xa3a.1\x01\xa3a.1\x01\xc4\x02xx" + b"\x91" * 3000),
    ],
)
def test_found_before(name: str, data: bytes) -> None:
    TARGETS[name](data)
