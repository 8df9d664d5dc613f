"""The loop of `collect top`: fetch, draw, obey keys."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live

from tui.frame import frame
from tui.keys import Control, Quit, press
from tui.meshes import Mesh, watchers
from tui.terminal import keyboard
from tui.view import Looking, tab
from tui.watcher import Watcher

INTERVAL = 0.5
"""Seconds between two fetches, and between two frames that no key asked for."""
GLANCE = 2.0
"""Seconds between two glances at the meshes that are not looked at."""


async def once(meshes: Sequence[Mesh], console: Console) -> int:
    """Print one frame of each; 4 when no node of one answers."""
    async with watchers(meshes) as found:
        looking = Looking(meshes=len(found))
        for watcher in found:
            await watcher.refresh(looking, rows=100)
        for index, watcher in enumerate(found):
            if watcher.snapshot.fetched is None:
                sys.stderr.write(f"{_named(watcher, found)}{watcher.snapshot.trouble}\n")
            else:
                at = msgspec.structs.replace(looking, mesh=index)
                console.print(_frame(found, at, max(24, console.height)))
        return 4 if any(watcher.snapshot.fetched is None for watcher in found) else 0


async def live(meshes: Sequence[Mesh], console: Console, *, readonly: bool) -> int:
    """Until q is pressed; 4 when no node of any answers at the begin."""
    async with watchers(meshes) as found:
        await asyncio.gather(*[watcher.glance() for watcher in found])
        if all(watcher.snapshot.fetched is None for watcher in found):
            for watcher in found:
                sys.stderr.write(f"{_named(watcher, found)}{watcher.snapshot.trouble}\n")
            return 4
        with keyboard() as read, Live(console=console, screen=True, auto_refresh=False) as screen:
            await App(found, screen, Looking(readonly=readonly, meshes=len(found))).run(read)
    return 0


def _named(watcher: Watcher, found: Sequence[Watcher]) -> str:
    return f"{watcher.name}: " if len(found) > 1 else ""


def _frame(found: Sequence[Watcher], looking: Looking, height: int) -> RenderableType:
    now = monotonic()
    several = [
        tab(index + 1, watcher.name, watcher.snapshot, now, here=index == looking.mesh)
        for index, watcher in enumerate(found)
        if len(found) > 1
    ]
    return frame(found[looking.mesh].snapshot, looking, now, height, several)


class App:
    """The state of the screen, and what runs beside it: fetching, events, controls under way."""

    def __init__(self, watchers: Sequence[Watcher], screen: Live, looking: Looking) -> None:
        self.watchers = watchers
        self.screen = screen
        self.looking = looking
        self.done = asyncio.Event()
        self.controls: set[asyncio.Task[None]] = set()
        self.wake = asyncio.Event()

    @property
    def watcher(self) -> Watcher:
        """Of the mesh that is looked at."""
        return self.watchers[self.looking.mesh]

    async def run(self, read: Callable[[], list[str]]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self.pressed, read)
        works = [self.fetch(), self.glance(), self.paint(), *[watcher.follow() for watcher in self.watchers]]
        beside = [asyncio.create_task(work) for work in works]
        stop = asyncio.create_task(self.done.wait())
        try:
            ended, _ = await asyncio.wait([*beside, stop], return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            loop.remove_reader(sys.stdin.fileno())
            for task in [*beside, stop, *self.controls]:
                task.cancel()
            await asyncio.gather(*beside, stop, *self.controls, return_exceptions=True)

    async def fetch(self) -> None:
        while True:
            await self.watcher.refresh(self.looking, rows=min(1000, self.screen.console.height * 2))
            self.wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), INTERVAL)

    async def glance(self) -> None:
        """At the meshes that are not looked at."""
        while True:
            here = self.watcher
            await asyncio.gather(*[one.glance() for one in self.watchers if one is not here])
            await asyncio.sleep(GLANCE)

    async def paint(self) -> None:
        while True:
            self.draw()
            await asyncio.sleep(INTERVAL)

    def draw(self) -> None:
        self.screen.update(_frame(self.watchers, self.looking, self.screen.console.height), refresh=True)

    def pressed(self, read: Callable[[], list[str]]) -> None:
        names = read()
        if not names:
            self.done.set()
        for key in names:
            before, watcher = self.looking, self.watcher
            self.looking, wish = press(before, key, watcher.snapshot)
            if _asked(before) != _asked(self.looking):
                self.wake.set()
            match wish:
                case Quit():
                    self.done.set()
                case Control(action, ref):
                    task = asyncio.create_task(self.control(watcher, action, ref))
                    self.controls.add(task)
                    task.add_done_callback(self.controls.discard)
        self.draw()

    async def control(self, watcher: Watcher, action: str, ref: str) -> None:
        message = await watcher.control(action, ref)
        self.looking = msgspec.structs.replace(self.looking, message=message)
        self.wake.set()
        self.draw()


def _asked(looking: Looking) -> tuple[object, ...]:
    """What the nodes are asked for."""
    return looking.mesh, looking.place, looking.ref, looking.filter
