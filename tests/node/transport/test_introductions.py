"""Who is greeted when many addresses are proposed, most of them false."""

import asyncio
import contextlib
import random

from node.security.keyring import KeyRing
from node.security.keys import new_cluster_key
from node.security.roster import Entry, Roster
from node.security.tickets import Tickets
from node.transport.introduce import JoinAnswer
from node.transport.introductions import MAX_AT_ONCE, MAX_FAILURES, MAX_GUESSES, Introductions
from node.transport.join import Book, Household, JoinServer
from tests.node.transport.kit import gated, new_keys, until


async def test_a_flood_of_guesses_takes_no_room_from_a_seed() -> None:
    """Listeners that never answer, ports of another mesh, and one true member that was named by hand."""
    hung: list[asyncio.StreamWriter] = []
    with contextlib.ExitStack() as stack:
        server = await asyncio.start_server(lambda _, writer: hung.append(writer), "127.0.0.1", 0)
        silent = server.sockets[0].getsockname()[1]
        me, member, foreign = new_keys(), new_keys(), new_keys()
        ring, met = KeyRing(new_cluster_key()), list[JoinAnswer]()
        context = stack.enter_context(gated(Roster([Entry(public_key=me.pair.public)])))
        doors = [
            JoinServer(context, bind="127.0.0.1:0", book=Book(key, Roster(), Tickets()))
            for key in (ring, KeyRing(new_cluster_key()))
        ]
        for door, keys in zip(doors, (member, foreign), strict=True):
            stack.callback(door.close)
            entry = Entry(public_key=keys.pair.public)
            door.start(
                Household(
                    me=lambda entry=entry: entry,  # type: ignore[misc]  # the entry of this turn
                    on_joined=lambda _: None,
                    on_redeemed=lambda _: None,
                    save=lambda: None,
                )
            )
        mine = Entry(public_key=me.pair.public)
        introductions = Introductions(
            context, ring, pair=me.pair, me=lambda: mine, rng=random.Random(1), on_met=met.append
        )
        for number in range(10_000):
            host = f"127.{number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
            introductions.greet((f"{host}:{silent}",), guess=True)
            introductions.greet((doors[1].bound_address,), guess=True)
        assert len(introductions._tasks) == MAX_GUESSES < MAX_AT_ONCE
        introductions.greet((doors[0].bound_address,))
        await until(lambda: met, within=2.0)
        assert [answer.server.id for answer in met] == [member.id]
        assert len(introductions.failures) <= MAX_FAILURES
        await introductions.close()
        server.close()
        for writer in hung:
            writer.transport.abort()
        await asyncio.sleep(0)
