"""The command line: `collect`, the client of any node, and the flags of `collect-node`.

One module a group of commands; `app` names them all and imports none until it is called. Commands speak
to the HTTP API through `node.client` and hold no state. Exit codes: 0 ok, 1 failed, 2 wrong usage,
3 partly, 4 unreachable.

May import: node.client, node.schema, node.config, node.durations.
"""


def main() -> None:
    """The `collect` script."""
    from node.cli.app import run

    raise SystemExit(run())
