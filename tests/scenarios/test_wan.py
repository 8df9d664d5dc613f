"""The way between regions: by a clock that the test moves, and with real packets between namespaces."""

import random
import subprocess
import sys

import pytest

from tests.scenarios.net import Far, Net
from tests.scenarios.rights import needs_networks
from tests.scenarios.wan import Way


def way(delay: float, loss: float = 0.0) -> Way:
    return Way(delay, loss, random.Random(7))


def test_a_packet_arrives_when_its_delay_is_over() -> None:
    line = way(2.0)
    line.put(b"one", 8, 100.0)
    line.put(b"two", 9, 101.0)
    assert line.due(101.5) == []
    assert line.wait(101.5) == 0.5
    assert line.due(102.0) == [(b"one", 8)]
    assert line.due(110.0) == [(b"two", 9)]
    assert line.wait(110.0) is None


def test_packets_of_one_moment_stay_in_order() -> None:
    line = way(1.0)
    packets = [bytes([255 - n]) for n in range(20)]
    for packet in packets:
        line.put(packet, 3, 5.0)
    assert [packet for packet, _ in line.due(6.0)] == packets


def test_nothing_arrives_while_the_way_is_held() -> None:
    line = way(1.0)
    line.put(b"before", 3, 0.0)
    assert line.obey("hold") == "done"
    line.put(b"after", 3, 1.0)
    assert line.due(9.0) == []
    assert line.wait(9.0) is None
    line.obey("release")
    assert line.due(1.5) == [(b"before", 3)]
    assert line.due(2.0) == [(b"after", 3)]


def test_a_share_is_lost_and_counted() -> None:
    line = way(0.0, 0.25)
    for _ in range(4000):
        line.put(b"1234", 3, 0.0)
    arrived = len(line.due(0.0))
    assert 2800 < arrived < 3200
    assert line.obey("count") == f"[4000, 16000, {4000 - arrived}]"


def test_a_line_that_means_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="dealy 2"):
        way(0.0).obey("dealy 2")


@pytest.mark.root
@needs_networks
def test_real_packets_between_regions_go_that_way_and_no_others() -> None:
    with Net(["a", "b", "c"], Far({"a": "eu", "b": "us", "c": "us"}, delay=0.01)) as net:
        assert heard(net, "b", "c")
        assert net.wan.count().packets == 0
        assert heard(net, "a", "b")
        assert net.wan.count().packets >= 4
        net.wan.hold()
        assert heard(net, "b", "c")
        assert not heard(net, "a", "b")
        net.wan.release()
        assert heard(net, "b", "a")


TALK = "import socket, sys; socket.create_connection((sys.argv[1], 7), 1).sendall(b'hello')"
LISTEN = """
import socket
with socket.create_server(("", 7)) as server:
    print("listens", flush=True)
    print(server.accept()[0].recv(9).decode(), flush=True)
"""


def heard(net: Net, one: str, other: str) -> bool:
    """Whether a process at `other` hears what one at `one` says over TCP, within a second."""
    listener = subprocess.Popen([*net.inside(other), sys.executable, "-c", LISTEN], stdout=subprocess.PIPE)
    assert listener.stdout is not None
    try:
        assert listener.stdout.readline() == b"listens\n"
        talk = [*net.inside(one), sys.executable, "-c", TALK, net.host(other)]
        said = subprocess.run(talk, capture_output=True, check=False)
        return said.returncode == 0 and listener.stdout.readline() == b"hello\n"
    finally:
        listener.kill()
        listener.communicate()
