"""The description names every status that an operation answers, and no other."""

import io
import re

import pytest
from aiohttp import ClientSession

from node.api.access import BODIED
from node.api.app import MAX_BODY, all_routes
from node.api.openapi import BODY_PROBLEMS, COMMON_PROBLEMS, problems_of
from node.api.requests import read_body
from node.api.route import Route
from tests.node.api.reach import statuses

NEVER = {
    ("create_tasks", 422): "it is what a line of the answer says",
    ("delete_task", 413): "only a retry carries dead letters",
    ("read_lock", 409): "who reads contends with nobody",
}
"""What the walk over the source cannot tell."""
PASSED_ON = {"create_tasks": {503, 507}}
"""Refusals that a handler gathers first."""
UNCHECKED = {"read_openapi", "healthz", "readyz"}
"""They look at no parameter."""

ROUTES = pytest.mark.parametrize("route", all_routes(), ids=lambda route: route.name)


@ROUTES
def test_a_status_that_can_be_is_described(route: Route) -> None:
    reached = {status for status in statuses(route.handler) if (route.name, status) not in NEVER}
    assert reached <= problems_of(route) | set(route.answers)


@ROUTES
def test_a_status_that_is_described_can_be(route: Route) -> None:
    assert set(route.problems) <= statuses(route.handler) | PASSED_ON.get(route.name, set())
    assert not set(route.problems) & {*COMMON_PROBLEMS, *BODY_PROBLEMS}, "the document adds these"


def test_the_walk_finds_what_lies_deep() -> None:
    assert statuses(read_body) == {408}
    by_name = {route.name: statuses(route.handler) for route in all_routes()}
    assert 507 in by_name["create_task"], "from the disk, over the service and the node that is asked"
    assert 412 in by_name["pause_tasks"], "from a control of many"
    assert by_name["read_cluster"] == {400}, "a node that does not answer is left out"


def _path(route: Route) -> str:
    return re.sub(r"\{(\w+)(?::([^}]*))?\}", lambda match: match[2] or "x", route.path)


@ROUTES
async def test_what_is_wrong_with_any_request_is_described(http: ClientSession, route: Route) -> None:
    known, path = problems_of(route) | set(route.answers), _path(route)
    json = {"Content-Type": "application/json"}
    async with http.request(route.method, f"{path}?nonsense=1", headers=json) as response:
        assert response.status in known
        assert (response.status == 400) == (route.name not in UNCHECKED)
    if route.method in BODIED:
        async with http.request(route.method, path, data=b"x") as response:
            assert response.status == 415
            assert response.status in known
        large = io.BytesIO(b" " * (MAX_BODY + 1))
        meant = f"{path}?all=true" if path.startswith("/v1/tasks:") else path
        async with http.request(route.method, meant, data=large, headers=json) as response:
            assert response.status == (415 if route.name == "create_tasks" else 413)
            assert response.status in known
