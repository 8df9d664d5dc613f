"""Who may be of a mesh of one, in a list; it keeps the contract, so that the API alone is under test."""

from typing import Any

from node.api.problems import refuse
from node.schema import IssuedToken, JoinKey, JoinToken, Verdict

NOW = "2026-01-01T00:00:00Z"


class MemoryAdmission:
    """`told`: what was asked, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.generation = 0

    async def issue(self, *, uses: int, life: float) -> IssuedToken:
        self.told.append(("issue", (uses, life)))
        return IssuedToken(
            id="t1",
            state="open",
            uses=uses,
            used=[],
            expires_at=NOW,
            issued_by="a1",
            token="cm1-x",
            command="collect-node --join cm1-x",
        )

    async def tokens(self) -> list[JoinToken]:
        return [JoinToken(id="t1", state="used", uses=1, used=["b2"], expires_at=NOW, issued_by="a1")]

    async def withdraw(self, token: str) -> JoinToken:
        if token != "t1":
            raise refuse(404, "not-found", f"there is no join token {token!r}")
        return JoinToken(id="t1", state="withdrawn", uses=1, used=[], expires_at=NOW, issued_by="a1")

    async def rotate(self) -> JoinKey:
        self.generation += 1
        return JoinKey(mesh="mesh", generation=self.generation)

    async def revoke(self, node: str, *, keep_key: bool) -> Verdict:
        self.told.append(("revoke", (node, keep_key)))
        return Verdict(node=node, name="n", revoked=True, generation=self.generation)

    async def readmit(self, node: str) -> Verdict:
        self.told.append(("readmit", node))
        return Verdict(node=node, name="n", revoked=False, generation=self.generation)

    async def revoked(self) -> list[Verdict]:
        return []
