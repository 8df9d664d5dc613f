"""Who may be of the mesh: one-time join tokens, rotation of the key, revocation of nodes."""

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from node.cli.failures import OK
from node.cli.output import emit
from node.cli.session import HERE, Output, Reach, speak
from node.schema import JoinToken, Verdict

Name = Annotated[str, Parameter(name="node", help="Node: id, unique prefix of one, or name.")]


def join(
    *,
    expires: Annotated[str, Parameter(help='How long it is good: "10m", "1d"; at most 30d.')] = "1h",
    uses: Annotated[int, Parameter(help="How many nodes may join with it; at most 100.")] = 1,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """Make a one-time token; prints the command with which a new node joins."""
    issued = speak(reach, lambda client: client.issue_token(expires=expires, uses=uses))
    if output == "table":
        print(issued.command)
        nodes = "one node" if issued.uses == 1 else f"{issued.uses} nodes"
        print(f"token {issued.id}: for {nodes}, until {issued.expires_at}", file=sys.stderr)
    else:
        emit(issued, [{**_row(issued), "command": issued.command}], output)
    return OK


def list_tokens(*, output: Output = "table", reach: Reach = HERE) -> int:
    """List the one-time tokens: open, used, expired and withdrawn ones."""
    found = speak(reach, lambda client: client.join_tokens())
    emit(found, [_row(token) for token in found], output)
    return OK


def withdraw(
    token: Annotated[str, Parameter(name="token", help="The id of a token, as `list` shows it.")],
    *,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """Withdraw a one-time token; nodes that joined with it stay."""
    answer = speak(reach, lambda client: client.withdraw_token(token))
    emit(answer, [_row(answer)], output)
    return OK


def rotate(*, output: Output = "table", reach: Reach = HERE) -> int:
    """Replace the key of the mesh; members go on, key files and tokens of before open nothing any more."""
    key = speak(reach, lambda client: client.rotate_key())
    emit(key, [{"mesh": key.mesh, "generation": key.generation}], output)
    return OK


def revoke_node(
    node: Name,
    *,
    keep_key: Annotated[bool, Parameter(negative="", help="Do not rotate the key.")] = False,
    output: Output = "table",
    reach: Reach = HERE,
) -> int:
    """Shut a node out, a stolen one say, and rotate the key of the mesh, which it knows."""
    verdict = speak(reach, lambda client: client.revoke_node(node, keep_key=keep_key))
    emit(verdict, [_verdict(verdict)], output)
    return OK


def readmit_node(node: Name, *, output: Output = "table", reach: Reach = HERE) -> int:
    """Take a revocation back."""
    verdict = speak(reach, lambda client: client.readmit_node(node))
    emit(verdict, [_verdict(verdict)], output)
    return OK


def revoked(*, output: Output = "table", reach: Reach = HERE) -> int:
    """List the nodes that are shut out."""
    found = speak(reach, lambda client: client.revoked_nodes())
    emit(found, [_verdict(verdict) for verdict in found], output)
    return OK


def _row(token: JoinToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "state": token.state,
        "used": len(token.used),
        "uses": token.uses,
        "expires": token.expires_at,
        "issued_by": token.issued_by,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.node,
        "name": verdict.name,
        "revoked": verdict.revoked,
        "key_generation": verdict.generation,
    }
