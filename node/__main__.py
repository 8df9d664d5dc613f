"""`collect-node`: start a node and keep it until it is told to stop."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from node.cli.node_flags import Flags, parse, run_setup
from node.config import Config, ConfigError, load


def main(argv: Sequence[str] | None = None) -> None:
    """The console script. Exits 0 after an orderly stop, 1 when something failed, 2 when it refuses to start."""
    flags = parse(sys.argv[1:] if argv is None else argv)
    if flags.init or flags.check:
        sys.exit(run_setup(flags, os.environ))
    try:
        config = load(flags.config, os.environ, flags.settings)
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    set_logging(config)
    sys.exit(_run(config, flags))


def _run(config: Config, flags: Flags) -> int:
    from node.tuning import require_files, tune_interpreter

    tune_interpreter()

    import uvloop

    from node.api.access import ExposureError
    from node.api.tls import TlsError
    from node.data_directory import CannotStart
    from node.security.keys import BadKey
    from node.security.roster import BadRoster
    from node.security.selftest import Unguarded
    from node.security.token import BadToken
    from node.transport.base import CannotBind
    from node.transport.hello import JoinFailed
    from state.storage.log import Damaged, Unreadable

    refusals = (
        CannotStart,
        ExposureError,
        TlsError,
        BadKey,
        BadRoster,
        BadToken,
        CannotBind,
        JoinFailed,
        Unguarded,
        Unreadable,
    )
    try:
        require_files()
        return uvloop.run(_serve(config, flags))
    except refusals as error:
        print(f"collect-node: {error}", file=sys.stderr)
        return 2
    except Damaged as error:
        print(
            f"collect-node: {error}.\nNothing was changed. If other nodes hold copies, start with --salvage: the sound "
            "records before and after the damage are kept and the rest is fetched from them. Without copies, what "
            "lay in the damaged part is lost.",
            file=sys.stderr,
        )
        return 2
    except OSError as error:
        print(f"collect-node: {error} (the data directory is {config.node.data_dir})", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "start new thread" not in str(error):
            raise
        print(
            f"collect-node: {error!r}: this process may use too little memory, or too few threads; raise its limits "
            "(ulimit -v, ulimit -u, or those of its container)",
            file=sys.stderr,
        )
        return 1


async def _serve(config: Config, flags: Flags) -> int:
    from node.app import App
    from node.tuning import freeze_loaded

    _check_packages()
    app = App(config, join=flags.join, salvage=flags.salvage)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    started = await app.start()
    freeze_loaded()
    kind = "a new mesh" if started.founded else f"mesh {started.cluster.mesh_id}"
    sys.stdout.write(  # at once: other threads log to the same stream, and programs read these lines
        f"collect-node {app.version} {config.node.name} ({app.me}) in {kind}\n"
        f"http  {app.url}\nmesh  {app.membership.address}\n"
        f"join others with:  collect-node --join {app.token}\n"
    )
    sys.stdout.flush()
    await stop.wait()
    if (failure := app.standing.failure) is not None:
        await app.stop(leave=False)
        print(f"collect-node: {failure}.", file=sys.stderr)
        return 1
    print("leaving the mesh", flush=True)
    await app.stop()
    return 0


def stop_signals() -> list[signal.Signals]:
    """What a node leaves in order for: a terminal that closes too, unless it was started to outlive it (nohup)."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hangup]


def _check_packages() -> None:
    """All six packages must come from one place: others on PyPI have the same names."""
    import gossip
    import node
    import plugins
    import sharding
    import state
    import tui
    from node.data_directory import CannotStart

    places = {str(Path(str(p.__file__)).parent.parent) for p in (node, gossip, sharding, plugins, state, tui)}
    if len(places) > 1:
        raise CannotStart(
            f"the packages of collect-node come from several places ({', '.join(sorted(places))}): another project has "
            "a package of the same name; install collect-node into an environment of its own"
        )


def set_logging(config: Config) -> None:
    """structlog on standard error, as text or JSON; foreign loggers in the same form."""
    import structlog

    level = getattr(logging, config.log.level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if config.log.format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # no local variables: they may hold secrets
        )
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info, renderer])
    )  # fmt: skip
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


if __name__ == "__main__":
    main()
