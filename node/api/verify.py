"""/v1/verify: whether what the mesh holds is what was written."""

from collections.abc import AsyncIterator

from aiohttp import web

from node.api.answers import ENCODER, stream_answer
from node.api.bodies import Nothing
from node.api.context import service_of
from node.api.requests import check_parameters, parameter_flag, read_table
from node.api.route import NDJSON, Parameter, Route
from node.schema import VerifyLine


async def verify(request: web.Request) -> web.StreamResponse:
    """Lines as they come: progress, findings, and the summary last; a stream without one broke off."""
    check_parameters(request, "repair", "deep")
    await read_table(request, Nothing)
    return await stream_answer(request, _lines(request), NDJSON)


async def _lines(request: web.Request) -> AsyncIterator[bytes]:
    repair, deep = parameter_flag(request, "repair"), parameter_flag(request, "deep")
    async for line in service_of(request).verify(repair=repair, deep=deep):
        yield ENCODER.encode(line) + b"\n"


ROUTES = (
    Route(
        method="POST",
        path="/v1/verify",
        handler=verify,
        name="verify",
        about="Compare logs, replicas and published results of the whole mesh, and repair what can be.",
        tag="mesh",
        parameters=(
            Parameter(
                "repair",
                "Mend damaged logs from the other replicas, and manifests from commit records.",
                bool,
            ),
            Parameter("deep", "Read every published file and compare its sha256.", bool),
        ),
        body=Nothing,
        body_required=False,
        answers={200: list[VerifyLine]},
        answer_media=(NDJSON,),
        problems=(422,),
    ),
)
