"""The loop of `collect top`: fetch, draw, obey keys."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

import msgspec
from rich.console import Console
from rich.live import Live

from node.client import Client
from tui.frame import frame
from tui.keys import Control, Quit, press
from tui.terminal import keyboard
from tui.view import Looking
from tui.watcher import Watcher

INTERVAL = 0.5
"""Seconds between two fetches, and between two frames that no key asked for."""


async def once(urls: Sequence[str], token: str | None, console: Console) -> int:
    """Print one frame; 4 when no node answers."""
    async with Client(urls, token) as client:
        watcher = Watcher(client, monotonic)
        await watcher.refresh(Looking(), rows=100)
        if watcher.snapshot.fetched is None:
            sys.stderr.write(f"{watcher.snapshot.trouble}\n")
            return 4
        console.print(frame(watcher.snapshot, Looking(), monotonic(), max(24, console.height)))
        return 0


async def live(urls: Sequence[str], token: str | None, console: Console, *, readonly: bool) -> int:
    """Until q is pressed."""
    async with Client(urls, token) as client:
        await client.learn()
        with keyboard() as read, Live(console=console, screen=True, auto_refresh=False) as screen:
            app = App(Watcher(client, monotonic), screen, Looking(readonly=readonly))
            await app.run(read)
    return 0


class App:
    """The state of the screen, and what runs beside it: fetching, events, controls under way."""

    def __init__(self, watcher: Watcher, screen: Live, looking: Looking) -> None:
        self.watcher = watcher
        self.screen = screen
        self.looking = looking
        self.done = asyncio.Event()
        self.controls: set[asyncio.Task[None]] = set()
        self.wake = asyncio.Event()

    async def run(self, read: Callable[[], list[str]]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self.pressed, read)
        beside = [asyncio.create_task(work) for work in (self.watcher.follow(), self.fetch(), self.paint())]
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

    async def paint(self) -> None:
        while True:
            self.draw()
            await asyncio.sleep(INTERVAL)

    def draw(self) -> None:
        height = self.screen.console.height
        self.screen.update(frame(self.watcher.snapshot, self.looking, monotonic(), height), refresh=True)

    def pressed(self, read: Callable[[], list[str]]) -> None:
        names = read()
        if not names:
            self.done.set()
        for key in names:
            place = (self.looking.place, self.looking.ref, self.looking.filter)
            self.looking, wish = press(self.looking, key, self.watcher.snapshot)
            if place != (self.looking.place, self.looking.ref, self.looking.filter):
                self.wake.set()
            match wish:
                case Quit():
                    self.done.set()
                case Control(action, ref):
                    task = asyncio.create_task(self.control(action, ref))
                    self.controls.add(task)
                    task.add_done_callback(self.controls.discard)
        self.draw()

    async def control(self, action: str, ref: str) -> None:
        message = await self.watcher.control(action, ref)
        self.looking = msgspec.structs.replace(self.looking, message=message)
        self.wake.set()
        self.draw()
