"""Which commands `collect` has, and what a failure is as text and exit code."""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from node.cli.failures import OK, USAGE, Failure

COMMANDS = {
    "submit": ("submit:submit", "Submit task files (TOML, YAML, JSON; - for standard input)."),
    "list": ("look:list_tasks", "List tasks."),
    "show": ("look:show", "Show one task: state, runs, shards, coverage, spec."),
    "watch": ("watch:watch", "Follow tasks to their end, with progress, rate and ETA."),
    "wait": ("watch:wait", "Wait until a task is in a state."),
    "why": ("look:why", "Say why a task does not progress."),
    "pause": ("control:pause", "Pause tasks, by id or by filter."),
    "resume": ("control:resume", "Resume paused tasks."),
    "retry": ("control:retry", "Run failed tasks again, or replay dead letters."),
    "cancel": ("control:cancel", "Cancel tasks."),
    "delete": ("control:delete", "Delete tasks; one that runs is cancelled, and what was published stays."),
    "errors": ("look:errors", "Show the errors of a task, or its dead letters."),
    "export": ("export:export", "Write the published rows of a task as one file."),
    "top": ("mesh:top", "Watch the mesh live."),
    "cluster": ("mesh:cluster", "Show the members of the mesh."),
    "drain": ("drain:drain", "Empty a node, to stop it; or forget one that is gone for good."),
    "verify": ("verify:verify", "Compare what the mesh holds with what was written; repair it."),
    "plugins": ("mesh:plugins", "List the collectors, sinks and transforms of a node."),
}

TOKEN = {
    "join": ("join", "Make a one-time token with which a new node joins."),
    "list": ("list_tokens", "List the one-time tokens."),
    "withdraw": ("withdraw", "Withdraw a one-time token."),
    "rotate": ("rotate", "Replace the key of the mesh."),
    "revoke-node": ("revoke_node", "Shut a node out of the mesh."),
    "readmit-node": ("readmit_node", "Take a revocation back."),
    "revoked": ("revoked", "List the nodes that are shut out."),
}

GROUPS = ("bench", "token")
"""Commands with commands of their own."""


def build() -> App:
    app = App(
        name="collect",
        help="Collect data on a mesh of nodes: the client of any node.",
        version=_version,
        exit_on_error=False,
        help_epilogue=(
            "Which node: --url, COLLECT_URL, or a context in ~/.config/collect/contexts.toml; else http://127.0.0.1:8700."
        ),
    )
    for name, (target, text) in COMMANDS.items():
        app.command(f"node.cli.{target}", name=name, help=text)
    bench = App(name="bench", help="Measure a mesh.")
    bench.command(
        "node.cli.bench_tasks:tasks", name="tasks", help="Many small tasks: rates and control latency."
    )
    bench.command(
        "node.cli.bench_records:records", name="records", help="One large collection, CSV to JSONL."
    )
    app.command(bench)
    token = App(name="token", help="Say who may be of the mesh: join tokens, keys, revocations.")
    for name, (target, text) in TOKEN.items():
        token.command(f"node.cli.token:{target}", name=name, help=text)
    app.command(token)
    return app


def run(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command in `argv` (default: the process's)."""
    try:
        code = build()(_command_first(sys.argv[1:] if argv is None else argv), result_action="return_value")
    except CycloptsError:
        return USAGE
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    return code if isinstance(code, int) else OK


def _command_first(argv: Sequence[str]) -> list[str]:
    """Options that stand before the command belong to it: `--url URL list` is `list --url URL`."""
    if not argv or not argv[0].startswith("-"):
        return list(argv)
    for at, word in enumerate(argv):
        if word in COMMANDS or word in GROUPS:
            after = at + (2 if word in GROUPS else 1)
            return [*argv[at:after], *argv[:at], *argv[after:]]
    return list(argv)


def _version() -> str:
    from importlib.metadata import version

    return version("collect-node")
