"""The OpenAPI document in the form that only kubectl's last resort asks for."""

from __future__ import annotations

from pathlib import Path

from tests.support.apiserver import running


async def test_the_protobuf_form_is_an_outline(tmp_path: Path) -> None:
    """kubectl asks for it about kinds that nobody knows; JSON in its place would end in an error about wire formats."""
    async with running(tmp_path) as api:
        answer = await api.call(
            "GET", "/openapi/v2", accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        )
        assert answer.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
        assert answer.body == b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.36.0"
        assert (await api.ok("GET", "/openapi/v2"))["swagger"] == "2.0"
