"""What this node says of itself, and what it answers when others speak of it."""

import msgspec

from gossip.codec import encode, head
from gossip.core import Core
from gossip.errors import Malformed
from gossip.identity import Boot, NodeId
from gossip.lives import Lives
from gossip.member import MAX_JUMP, Member, Meta, State, encode_meta
from gossip.messages import Alive, Departed


class Own:
    """The subject of this node's own membership: the only one to raise its incarnation."""

    def __init__(self, core: Core, lives: Lives) -> None:
        self._core = core
        self._lives = lives
        self._addresses = [core.own.address]

    @property
    def leaving(self) -> bool:
        return self._core.own.state is State.LEFT

    def alive(self) -> Alive:
        own = self._core.own
        return Alive(own.id, own.boot, own.incarnation, own.address, self._core.table.metas[own.id])

    def encoded(self) -> bytes:
        return encode(self.alive())

    def set_meta(self, meta: Meta, now: float) -> None:
        """Raises MetaTooLarge."""
        encoded, own = encode_meta(meta), self._core.own
        if meta != own.meta:
            self._show(msgspec.structs.replace(own, meta=meta), encoded, now)

    def set_address(self, address: str, now: float) -> None:
        own = self._core.own
        if address != own.address:
            self._addresses.append(address)
            self._show(msgspec.structs.replace(own, address=address), None, now)

    def leave(self, now: float) -> None:
        core, own = self._core, self._core.own
        core.table.put(msgspec.structs.replace(own, state=State.LEFT, since=now))
        core.tell(own.id, Departed(own.id, own.boot, own.incarnation), now)
        core.changed(core.own, own.state)

    def accused(self, boot: Boot, incarnation: int, accuser: NodeId, now: float) -> bool:
        """Somebody holds us suspect, dead or left. Whether the accuser should be told our present Alive."""
        own = self._core.own
        if boot != own.boot or self.leaving:
            self._lives.mine(boot, accuser, now)
            return False
        self._plausible(incarnation)
        if incarnation >= own.incarnation:
            self._refute(incarnation, now)
        return True

    def described(self, claim: Alive, teller: NodeId, now: float) -> None:
        """Somebody says we are alive: refuted where the
        facts are not ours, or newer than what we ever said.
        """
        core, own = self._core, self._core.own
        self._lives.mine(claim.boot, teller, now)
        if claim.boot != own.boot or claim.incarnation < own.incarnation or self.leaving:
            return
        if claim.address not in self._addresses:
            told = core.conflict(own.id, (own.address, claim.address), claim.boot, now)
            if told and claim.incarnation > own.incarnation:
                # Not more often than the conflict is told: two doubles would outbid each other without end.
                self._plausible(claim.incarnation)
                self._refute(claim.incarnation, now)
            return
        self._plausible(claim.incarnation)
        if claim != self.alive():
            self._refute(claim.incarnation, now)

    def _plausible(self, incarnation: int) -> None:
        if incarnation - self._core.own.incarnation > MAX_JUMP:
            raise Malformed(
                f"incarnation {incarnation} of this node, whose own is {self._core.own.incarnation}"
            )

    def _refute(self, accused: int, now: float) -> None:
        self._raise(self._core.own, accused, None, now)
        self._core.health.apply(1)

    def _show(self, own: Member, encoded_meta: bytes | None, now: float) -> None:
        if self.leaving:
            return
        self._raise(own, own.incarnation, encoded_meta, now)
        self._core.changed(self._core.own, own.state)

    def _raise(self, own: Member, above: int, encoded_meta: bytes | None, now: float) -> None:
        core = self._core
        core.table.put(msgspec.structs.replace(own, incarnation=above + 1), encoded_meta)
        core.beginning = head(own.boot, above + 1, own.address)
        core.tell(own.id, self.alive(), now)
