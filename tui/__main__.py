"""The process of `collect top`. What to watch is in COLLECT_MESHES, since tokens are: others see arguments."""

import argparse
import asyncio
import os
import sys

import msgspec

from tui.meshes import Mesh


def main() -> int:
    parser = argparse.ArgumentParser(prog="collect top", description="Watch collection meshes live.")
    parser.add_argument("--url", action="append", metavar="URL", help="a node; may be repeated")
    parser.add_argument("--readonly", action="store_true", help="no key changes anything")
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    given = parser.parse_args()

    from rich.console import Console

    from tui.app import live, once

    console = Console(highlight=False, no_color="NO_COLOR" in os.environ or None)
    told = os.environ.get("COLLECT_MESHES")
    if told and not given.url:
        meshes = msgspec.json.decode(told, type=list[Mesh])
    else:
        urls = tuple(given.url or ["http://127.0.0.1:8700"])
        meshes = [Mesh("mesh", urls, os.environ.get("COLLECT_TOKEN"))]
    if given.once:
        return asyncio.run(once(meshes, console))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write("the live view needs a terminal; --once prints one frame\n")
        return 2
    try:
        return asyncio.run(live(meshes, console, readonly=given.readonly))
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
