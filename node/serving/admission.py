"""Who may be of the mesh, as the API asks it: names become ids, and the keeper on the membership loop acts."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from structlog import get_logger

from gossip.identity import NodeId
from node.api.problems import problem, refuse
from node.clock import wall_ms
from node.membership import Membership
from node.schema import IssuedToken, JoinKey, JoinToken, Verdict
from node.security.keeper import Keeper
from node.security.keyring import KeyRing
from node.security.roster import BadRoster, Entry, Roster
from node.security.tickets import Ticket
from node.service import Refused
from node.views import instant

T = TypeVar("T")
WAIT = 10.0  # seconds for the disk

log = get_logger(__name__)


class MeshAdmission:
    """`node.service.Admission`. `membership`: None while it has not started."""

    def __init__(self, me: NodeId, roster: Roster, ring: KeyRing) -> None:
        self._me, self._roster, self._ring = me, roster, ring
        self.membership: Membership | None = None

    async def issue(self, *, uses: int, life: float) -> IssuedToken:
        try:
            ticket, token = await self._keep(lambda keeper: keeper.issue(uses=uses, life=life))
        except BadRoster as error:
            raise refuse(409, "too-many-tokens", str(error)) from None
        log.info("a join token was made", token=ticket.id, uses=uses, life=life)
        shown = _shown(ticket)
        return IssuedToken(
            id=shown.id,
            state=shown.state,
            uses=shown.uses,
            used=shown.used,
            expires_at=shown.expires_at,
            issued_by=shown.issued_by,
            token=token.text(),
            command=f"collect-node --join {token.text()}",
        )

    async def tokens(self) -> list[JoinToken]:
        return [_shown(ticket) for ticket in await self._keep(lambda keeper: keeper.tickets())]

    async def withdraw(self, token: str) -> JoinToken:
        ticket = await self._keep(lambda keeper: keeper.withdraw(token))
        if ticket is None:
            raise refuse(
                404, "not-found", f"there is no join token {token!r}; `collect token list` names them"
            )
        log.info("a join token was withdrawn", token=token)
        return _shown(ticket)

    async def rotate(self) -> JoinKey:
        key = await self._keep(lambda keeper: keeper.rotate())
        return JoinKey(mesh=key.mesh_id, generation=key.generation)

    async def revoke(self, node: str, *, keep_key: bool) -> Verdict:
        """First the verdict, then the key: whoever hears of the new key has heard who must not get it."""
        entry = self._find(node, [entry for entry in self._roster.entries() if not entry.revoked])
        if entry.id == self._me:
            raise refuse(409, "oneself", "a node cannot shut itself out: ask another node to")
        await self._judge(entry.id, revoked=True)
        if not keep_key:
            await self._keep(lambda keeper: keeper.rotate())
        return self._verdict(self._roster.entry(entry.id) or entry)

    async def readmit(self, node: str) -> Verdict:
        entry = self._find(node, self._roster.revoked(), "revoked ")
        await self._judge(entry.id, revoked=False)
        return self._verdict(self._roster.entry(entry.id) or entry)

    async def revoked(self) -> list[Verdict]:
        return [self._verdict(entry) for entry in self._roster.revoked()]

    async def _judge(self, node: NodeId, *, revoked: bool) -> None:
        await self._keep(lambda keeper: keeper.judge(node, revoked=revoked))

    async def _keep(self, act: Callable[[Keeper], Coroutine[Any, Any, T]]) -> T:
        membership = self.membership
        if membership is None or not membership.alive:
            starting = refuse(503, "starting", "this node is starting, or stopping: ask again")
            starting.retry_after = 1.0
            raise starting
        try:
            async with asyncio.timeout(WAIT):
                return await membership.keep(act)
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or f"no answer within {WAIT:g} s"
            detail = f"this node acts on it, but could not put it on its disk: {reason}"
            # Not 503: clients would ask again, and a key would be rotated once more each time.
            raise Refused(problem(500, "not-durable", detail, state_changed=True)) from None

    def _verdict(self, entry: Entry) -> Verdict:
        return Verdict(
            node=entry.id, name=entry.name, revoked=entry.revoked, generation=self._ring.current.generation
        )

    def _find(self, ref: str, entries: list[Entry], kind: str = "") -> Entry:
        """Raises Refused 404, 409."""
        exact = [entry for entry in entries if entry.id == ref] or [e for e in entries if e.name == ref]
        found = exact or [entry for entry in entries if ref and entry.id.startswith(ref)]
        if not found:
            raise refuse(404, "not-found", f"there is no {kind}node {ref!r} on the roster of the mesh")
        if len(found) > 1:
            ids = ", ".join(entry.id for entry in found)
            raise refuse(409, "ambiguous", f"more than one node is called {ref!r}: give an id of {ids}")
        return found[0]


def _shown(ticket: Ticket) -> JoinToken:
    return JoinToken(
        id=ticket.id,
        state=_state(ticket),
        uses=ticket.uses,
        used=[str(node) for node in ticket.order],
        expires_at=instant(ticket.expires * 1000),
        issued_by=ticket.issuer,
    )


def _state(ticket: Ticket) -> Literal["open", "used", "expired", "withdrawn"]:
    if ticket.withdrawn:
        return "withdrawn"
    if len(ticket.used) >= ticket.uses:
        return "used"
    return "expired" if wall_ms() >= ticket.expires * 1000 else "open"
