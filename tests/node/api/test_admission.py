"""Join tokens, rotation and revocation over HTTP: what is taken, what is refused, what is answered."""

from typing import Any

import pytest
from aiohttp import ClientSession

from node.client import Client, ProblemError
from tests.node.api.conftest import Server


async def test_the_client_speaks_every_operation(server: Server, client: Client) -> None:
    issued = await client.issue_token(expires="10m", uses=3)
    assert (issued.token, issued.command) == ("cm1-x", "collect-node --join cm1-x")
    assert (await client.join_tokens())[0].used == ["b2"]
    assert (await client.withdraw_token("t1")).state == "withdrawn"
    assert (await client.rotate_key()).generation == 1
    assert (await client.revoke_node("b2")).revoked
    assert (await client.revoke_node("b2", keep_key=True)).revoked
    assert not (await client.readmit_node("b2")).revoked
    assert await client.revoked_nodes() == []
    assert server.admission.told == [
        ("issue", (3, 600.0)),
        ("revoke", ("b2", False)),
        ("revoke", ("b2", True)),
        ("readmit", "b2"),
    ]
    with pytest.raises(ProblemError, match="there is no join token 'none'") as caught:
        await client.withdraw_token("none")
    assert caught.value.problem.status == 404


async def test_a_token_is_made_by_default_for_one_node_and_an_hour(
    server: Server, http: ClientSession
) -> None:
    async with http.post("/v1/join-tokens", headers={"Content-Type": "application/json"}) as response:
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
    assert server.admission.told == [("issue", (1, 3600.0))]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("join-tokens", {"expires": "soon"}, "/expires"),
        ("join-tokens", {"expires": "0s"}, "/expires"),
        ("join-tokens", {"expires": "31d"}, "/expires"),
        ("join-tokens", {"uses": 0}, "/uses"),
        ("join-tokens", {"uses": 101}, "/uses"),
        ("join-tokens", {"use": 1}, "/use"),
        ("join-key/rotate", {"now": True}, "/now"),
        ("nodes/b2/revoke", {"keep_key": "yes"}, "/keep_key"),
    ],
)
async def test_wrong_requests_are_refused_with_the_field(
    server: Server, http: ClientSession, path: str, body: dict[str, Any], pointer: str
) -> None:
    async with http.post(f"/v1/{path}", json=body) as response:
        assert response.status == 422
        assert [error["pointer"] for error in (await response.json())["errors"]] == [pointer]
    assert server.admission.told == []
    assert server.admission.generation == 0
