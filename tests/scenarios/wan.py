"""The way between regions: packets arrive late, some never, and none while the way is held. No netem is needed.

Each node's namespace has a tun device, `wan`, to which its routes to the nodes of other regions lead. A process
of its own, `python -m tests.scenarios.wan`, holds all of them and passes each packet on to the device of the
address it is for, when its time has come. It obeys lines: `delay SECONDS`, `loss SHARE`, `hold`, `release`,
`count`; each is answered by one line when it is in force. It ends with its input.
"""

import ctypes
import fcntl
import heapq
import ipaddress
import itertools
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

DEVICE = "wan"
TUN = "/dev/net/tun"

_TUNSETIFF = 0x400454CA  # linux/if_tun.h, as are the flags
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_LARGEST = 1 << 16


class Way:
    """When a packet arrives. Pure: `put` what is sent, `due` is what arrives by now. Time: seconds of any clock."""

    def __init__(self, delay: float, loss: float, rng: random.Random) -> None:
        self.delay, self.loss, self.held = delay, loss, False
        self.packets = self.octets = self.lost = 0
        self._rng = rng
        self._numbers = itertools.count()
        self._queue: list[tuple[float, int, bytes, int]] = []

    def put(self, packet: bytes, to: int, now: float) -> None:
        """`to`: whatever `due` is to say of it. A packet of a shorter delay overtakes those of a longer one."""
        self.packets += 1
        self.octets += len(packet)
        if self._rng.random() < self.loss:
            self.lost += 1
        else:
            heapq.heappush(self._queue, (now + self.delay, next(self._numbers), packet, to))

    def due(self, now: float) -> list[tuple[bytes, int]]:
        found = []
        while not self.held and self._queue and self._queue[0][0] <= now:
            _, _, packet, to = heapq.heappop(self._queue)
            found.append((packet, to))
        return found

    def wait(self, now: float) -> float | None:
        """Seconds until the next packet is due; None where none will be."""
        return None if self.held or not self._queue else max(0.0, self._queue[0][0] - now)

    def obey(self, line: str) -> str:
        """The answer to one line."""
        match line.split():
            case ["delay", seconds]:
                self.delay = float(seconds)
            case ["loss", share]:
                self.loss = float(share)
            case ["hold"]:
                self.held = True
            case ["release"]:
                self.held = False
            case ["count"]:
                return json.dumps(Count(self.packets, self.octets, self.lost))
            case _:
                raise ValueError(line)
        return "done"


class Count(NamedTuple):
    """What was sent on the way so far, and how many of these packets were lost."""

    packets: int
    octets: int
    lost: int


# ---- the process


def _attach(namespace: str) -> int:
    """The device of this namespace, which the process is in from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    space = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if libc.setns(space, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    os.close(space)
    device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def _read(device: int, way: Way, outs: Mapping[bytes, int]) -> None:
    """All that has been sent into this device. What is not for a node (a router solicitation, say) is dropped."""
    now = time.monotonic()
    while True:
        try:
            packet = os.read(device, _LARGEST)
        except BlockingIOError:
            return
        out = outs.get(packet[16:20]) if packet[0] >> 4 == ipaddress.IPV4LENGTH // 8 else None
        if out is not None:
            way.put(packet, out, now)


def _run(way: Way, namespaces: Mapping[str, str]) -> None:
    """`namespaces`: by the address of the node there."""
    outs = {ipaddress.ip_address(host).packed: _attach(name) for host, name in namespaces.items()}
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([0, *outs.values()], [], [], way.wait(time.monotonic()))
        for device in ready:
            if device:
                _read(device, way, outs)
            elif not (line := sys.stdin.readline()):
                return
            else:
                print(way.obey(line), flush=True)
        for packet, out in way.due(time.monotonic()):
            os.write(out, packet)


# ---- its caller


class Wan:
    """The process, for the nodes in these namespaces (by address)."""

    def __init__(self, namespaces: Mapping[str, str], *, delay: float, loss: float, seed: int) -> None:
        facts = json.dumps({"namespaces": namespaces, "delay": delay, "loss": loss, "seed": seed})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.wan", facts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def delay(self, seconds: float) -> None:
        """Of all that is sent from now on, one way."""
        self._say(f"delay {seconds}")

    def loss(self, share: float) -> None:
        self._say(f"loss {share}")

    def hold(self) -> None:
        """From when this returns on nothing arrives; what is sent waits."""
        self._say("hold")

    def release(self) -> None:
        """What waits arrives at once, as far as its delay is over."""
        self._say("release")

    def count(self) -> Count:
        return Count(*json.loads(self._say("count")))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _say(self, line: str) -> str:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        assert answer, f"the way between regions ended: {self._process.poll()}"
        return answer


def main(facts: str) -> None:
    given = json.loads(facts)
    _run(Way(given["delay"], given["loss"], random.Random(given["seed"])), given["namespaces"])


if __name__ == "__main__":
    main(sys.argv[1])
