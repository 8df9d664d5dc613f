"""Locks over real HTTP: what is taken, refused, renewed and freed, and what a request must look like."""

from typing import Any

import pytest
from aiohttp import ClientSession

from node.client import Client, ProblemError


async def test_take_renew_read_free(client: Client) -> None:
    taken = await client.hold_lock("import", ttl=20, holder="alice")
    assert (taken.held, taken.holder) == (True, "alice")
    assert taken.token is not None
    with pytest.raises(ProblemError) as caught:
        await client.hold_lock("import", holder="bob")
    assert caught.value.problem.status == 409
    assert (await client.hold_lock("import", token=taken.token)).token == taken.token
    assert (await client.lock("import")).token == taken.token
    assert not (await client.lock("import", tenant="other")).held
    assert not (await client.free_lock("import", taken.token)).held
    assert not (await client.lock("import")).held


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/locks/x", {"ttl": "0s"}, 422, "/ttl"),
        ("/v1/locks/x", {"ttl": "soon"}, 422, "/ttl"),
        ("/v1/locks/x", {"ttl": "2h"}, 422, "/ttl: is not within 1s and 1h"),
        ("/v1/locks/x", {"tll": 5}, 422, "/tll"),
        ("/v1/locks/x", {"token": 0}, 422, "/token"),
        ("/v1/locks/a%20b", {}, 400, "name"),
        ("/v1/locks/x?tenant=A", {}, 400, "tenant"),
        ("/v1/locks/x?tll=5", {}, 400, "tll"),
    ],
)
async def test_a_wrong_request_says_what_is_wrong(
    http: ClientSession, path: str, body: dict[str, Any], status: int, words: str
) -> None:
    from yarl import URL

    base = str(http._base_url).rstrip("/")
    url = URL(base + path, encoded=True)
    async with ClientSession() as session, session.put(url, json=body) as response:
        assert response.status == status
        assert words in await response.text()


async def test_freeing_needs_the_token(http: ClientSession) -> None:
    async with http.delete("/v1/locks/x", json={}) as response:
        assert response.status == 400
        assert "token" in await response.text()
