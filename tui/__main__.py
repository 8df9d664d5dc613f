"""The process of `collect top`. The bearer token, if any, is in COLLECT_TOKEN: others see arguments."""

import argparse
import asyncio
import os
import sys


def main() -> int:
    parser = argparse.ArgumentParser(prog="collect top", description="Watch a collection mesh live.")
    parser.add_argument("--url", action="append", metavar="URL", help="a node; may be repeated")
    parser.add_argument("--readonly", action="store_true", help="no key changes anything")
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    given = parser.parse_args()

    from rich.console import Console

    from tui.app import live, once

    console = Console(highlight=False, no_color="NO_COLOR" in os.environ or None)
    urls, token = given.url or ["http://127.0.0.1:8700"], os.environ.get("COLLECT_TOKEN")
    if given.once:
        return asyncio.run(once(urls, token, console))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write("the live view needs a terminal; --once prints one frame\n")
        return 2
    try:
        return asyncio.run(live(urls, token, console, readonly=given.readonly))
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
