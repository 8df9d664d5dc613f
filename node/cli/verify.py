"""Whether what the mesh holds is what was written."""

# ruff: noqa: D413, D417  (cyclopts takes options from signatures and docstrings)

import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from node.cli.failures import FAILED, OK, PARTLY, Failure
from node.cli.output import emit
from node.cli.session import HERE, Output, Reach, speak
from node.schema import Finding, VerifyLine, VerifySummary

if TYPE_CHECKING:
    from node.client import Client

Flag = Annotated[bool, Parameter(negative="")]


def verify(*, repair: Flag = False, deep: Flag = False, output: Output = "table", reach: Reach = HERE) -> int:
    """Compare logs, replicas and published results of the whole mesh.

    Exits 0 when all is sound or was repaired, 1 with differences, 3 when something could not be checked.

    Parameters
    ----------
    repair: Mend damaged logs from the other replicas, and manifests from the commit records.
    deep: Read every published file and compare its sha256.
    """
    lines = speak(reach, lambda client: _all(client, repair=repair, deep=deep))
    findings = [line.finding for line in lines if line.finding is not None]
    summary = lines[-1].summary if lines else None
    if summary is None:
        raise Failure("the verification broke off; start it again")
    rows = [_row(finding) for finding in findings]
    if output == "table":
        if rows:
            emit(findings, rows, output)
        for remedy in sorted(
            {finding.remedy for finding in findings if finding.remedy and not finding.repaired}
        ):
            print(f"remedy: {remedy}")
        print(_said(summary))
    else:
        emit({"findings": findings, "summary": summary} if output == "json" else findings, rows, output)
    return FAILED if summary.differences else PARTLY if summary.unchecked else OK


async def _all(client: "Client", *, repair: bool, deep: bool) -> list[VerifyLine]:
    """All lines but those of progress, which are shown on a terminal."""
    kept = []
    shown = sys.stderr.isatty()
    async for line in client.verify(repair=repair, deep=deep):
        if line.finding is not None or line.summary is not None:
            kept.append(line)
        elif shown:
            print(
                f"\r{line.stage:<12} {line.done:>6,} of {line.total:,}\x1b[K",
                end="",
                file=sys.stderr,
                flush=True,
            )
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return kept


def _row(finding: Finding) -> dict[str, Any]:
    place = finding.file if finding.offset is None else f"{finding.file} byte {finding.offset}"
    return {
        "kind": finding.kind,
        "node": finding.node or None,
        "where": " ".join(filter(None, (finding.task, finding.slot and f"slot {finding.slot}", place)))
        or None,
        "what": finding.what,
        "repaired": finding.repaired,
    }


def _said(summary: VerifySummary) -> str:
    checked = (
        f"{summary.nodes} nodes, {summary.slots:,} slots, {summary.envelopes:,} envelopes, "
        f"{summary.archived:,} archived batches, "
        f"{summary.tasks:,} tasks with files, {summary.parts:,} parts"
    )
    if not (summary.differences or summary.repaired or summary.unchecked):
        return f"{checked}: all sound"
    return f"{checked}: {summary.differences} differences, {summary.repaired} repaired, {summary.unchecked} not checked"
