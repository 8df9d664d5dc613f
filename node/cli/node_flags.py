"""The command line of `collect-node`: which flags there are, and `--init` and `--check`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from node.config import ConfigError, example_text, load
from node.config_sources import FLAGS

HELP = {
    "node.name": ("NAME", "the name that people see (default: the host's)"),
    "node.data_dir": ("DIR", "keys, log and archive (default: ~/.local/share/collect-node)"),
    "http.bind": ("HOST:PORT", "where the API listens (default: 127.0.0.1:8700; port 0: a free one)"),
    "http.advertise": ("HOST:PORT", "what others dial for the API"),
    "http.token_file": ("FILE", "bearer token of the API"),
    "mesh.bind": ("HOST:PORT", "mesh port, the next two are taken too (default: 0.0.0.0:8701)"),
    "mesh.advertise": ("HOST:PORT", "what other nodes dial"),
    "mesh.seeds": ("HOST[:PORT]", "a member to try first; may be repeated"),
    "mesh.key_file": ("FILE", "the key of the mesh"),
    "node.region": ("NAME", "pool that keeps the copies of a task (default: local)"),
    "node.zone": ("NAME", "copies are spread over zones"),
    "gossip.profile": ("NAME", "timing of failure detection: local, lan, wan (default: lan)"),
}


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked on the command line. `settings`: "section.key" -> value, for `node.config.load`.

    `init` and `check`: do that and exit, with `run_setup`.
    """

    config: Path | None = None
    settings: dict[str, Any] = {}
    join: str | None = None
    init: bool = False
    check: bool = False
    salvage: bool = False


def parse(argv: Sequence[str]) -> Flags:
    """The flags in `argv` (without the program's name). Exits: 0 for --help, --version; 2 for wrong usage."""
    given = _parser().parse_args(argv)
    settings = {key: getattr(given, key) for key in HELP if getattr(given, key) is not None}
    if given.no_mdns:
        settings["mesh.mdns"] = False
    return Flags(
        config=given.config,
        settings=settings,
        join=given.join,
        init=given.init,
        check=given.check,
        salvage=given.salvage,
    )


def run_setup(flags: Flags, environ: Mapping[str, str]) -> int:
    """Carry out `--init` or `--check`; the exit code. Prints what was done, or every mistake."""
    if flags.init:
        return _init(flags.config or Path("node.toml"))
    try:
        config = load(flags.config, environ, flags.settings)
    except ConfigError as error:
        print(error)
        print(_count(len(error.items)))
        return 1
    from node.preflight import obstacles

    found = obstacles(config, flags.join)
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{config.source or 'configuration (no file)'}: {_count(len(found)) if found else 'ok'}")
    return 1 if found else 0


def _count(mistakes: int) -> str:
    return f"{mistakes} mistake{'s' if mistakes > 1 else ''}"


def _init(path: Path) -> int:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(example_text())
    except FileExistsError:
        print(f"{path} exists and was left alone; name another file with --config")
        return 1
    except OSError as error:
        print(f"{path} cannot be written: {error.strerror}")
        return 1
    print(f"wrote {path}; edit it, then: collect-node --config {path} --check")
    return 0


class _Version(argparse.Action):
    """Looks the version up only when asked: the look-up costs more than the rest of the start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"collect-node {version('collect-node')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collect-node",
        description="Start a node of a collection mesh.",
        epilog="Precedence: flag, environment (COLLECT_<SECTION>__<KEY>), file, default.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="configuration (default: ./node.toml, if it exists)")
    for key, (metavar, text) in HELP.items():
        action = "append" if key == "mesh.seeds" else "store"
        add(FLAGS[key], dest=key, metavar=metavar, help=text, action=action)
    add("--no-mdns", action="store_true", help="do not look for the mesh on the local network")
    add("--join", metavar="TOKEN", help="join the mesh that printed this token")
    add("--init", action="store_true", help="write a commented node.toml and exit")
    add("--check", action="store_true", help="report every mistake in the configuration and exit")
    add("--salvage", action="store_true", help="start from what is sound in a damaged log or archive")
    add("--version", action=_Version, nargs=0, help="show the version and exit")
    return parser
