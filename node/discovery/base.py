"""What a discovery is."""

from typing import Protocol


class Propose(Protocol):
    def __call__(self, *addresses: str) -> None:
        """One node may be at one of these join addresses (`host:port`), likeliest first. Cheap to repeat."""
        ...


class Discovery(Protocol):
    async def run(self, propose: Propose) -> None:
        """Propose until cancelled; never raises for what a network or a stranger does."""
        ...
