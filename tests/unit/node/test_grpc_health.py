"""gRPC probes against the official gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

pytest.importorskip("h2", reason="h2 is not installed: make install")
grpc = pytest.importorskip("grpc", reason="grpcio is not installed: make install")

from agents.node.grpc_health import check  # noqa: E402

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
LONG = "s" * 300


class Health(grpc.GenericRpcHandler):
    """grpc.health.v1.Health as raw messages: what it answers depends on the request's bytes."""

    async def answer(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        match request:
            case b"":
                return SERVING
            case b"\x0a\x04down":
                return NOT_SERVING
            case b"\x0a\x05blank":
                return b""
            case b"\x0a\x04slow":
                await asyncio.sleep(60)
            case _ if request == b"\x0a\xac\x02" + LONG.encode():
                return SERVING
        await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service: 100%")
        raise AssertionError("abort raises")

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        if handler_call_details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(self.answer)


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Health()])
    number = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield number
    await server.stop(None)


@pytest.mark.parametrize(
    ("service", "passed", "output"),
    [
        ("", True, "service healthy"),
        (LONG, True, "service healthy"),
        ("down", False, 'service unhealthy (responded with "NOT_SERVING")'),
        ("blank", False, 'service unhealthy (responded with "UNKNOWN")'),
        ("other", False,
         "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service: 100%"),
    ],
)  # fmt: skip
async def test_what_a_server_answers(port: int, service: str, passed: bool, output: str) -> None:
    answer = await check("127.0.0.1", port, service, 10)
    assert (answer.passed, answer.output) == (passed, output)


async def test_a_server_that_does_not_answer_in_time(port: int) -> None:
    answer = await check("127.0.0.1", port, "slow", 0.2)
    assert (answer.passed, answer.output) == (False, "timeout: health rpc did not complete within 0.2s")


async def test_a_server_without_the_health_service() -> None:
    server = grpc.aio.server()
    number = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    answer = await check("127.0.0.1", number, "", 10)
    await server.stop(None)
    assert not answer.passed
    assert answer.output.startswith(
        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
    )


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["HTTP/1.1", "nothing"])
async def test_a_server_that_speaks_something_else(said: bytes) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        answer = await check("127.0.0.1", server.sockets[0].getsockname()[1], "", 10)
    assert not answer.passed
    assert answer.output.startswith("error: ")


async def test_nobody_listens() -> None:
    answer = await check("127.0.0.1", 1, "", 10)
    assert not answer.passed
    assert answer.output == (
        'error: failed to connect service at "127.0.0.1:1": connection error: desc = "transport: Error while dialing: '
        'dial tcp 127.0.0.1:1: connect: connection refused"'
    )
