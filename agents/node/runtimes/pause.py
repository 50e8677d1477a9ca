"""The pause image: one static program of a few hundred bytes, imported into the runtime with nothing to download."""

from __future__ import annotations

import io
import tarfile

from agents.node.ports import UNSUPPORTED, RuntimeFailure
from agents.node.runtimes.binaries import ARCHITECTURES, executable
from agents.node.runtimes.engine import Engine, Refused, escaped


async def ensure_pause_image(engine: Engine, tag: str) -> None:
    """Make sure that the image `tag` ("covey/pause:2") is there; an image of that name is left as it is."""
    try:
        await engine.request("GET", f"/images/{escaped(tag)}/json")
        return
    except Refused as refused:
        if refused.status != 404:
            raise
    machine = (await engine.request("GET", "/info"))["Architecture"]
    if machine not in ARCHITECTURES:
        raise RuntimeFailure(UNSUPPORTED, f"no pause program for the architecture {machine!r}")
    repository, _, version = tag.rpartition(":")
    await import_image(engine, repository, version, archive(executable("pause", ARCHITECTURES[machine])), "/pause")


async def import_image(engine: Engine, repository: str, tag: str, layer: bytes, entrypoint: str) -> None:
    """`docker import`: the tar `layer` becomes the image `repository`:`tag`."""
    params = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": f'ENTRYPOINT ["{entrypoint}"]'}
    headers = {"Content-Type": "application/x-tar"}
    async with engine.stream("POST", "/images/create", params=params, data=layer, headers=headers) as content:
        answer = await content.read()
    if b'"errorDetail"' in answer:
        raise RuntimeFailure("RuntimeError", f"importing {repository}:{tag}: {answer.decode(errors='replace')}")


def archive(program: bytes) -> bytes:
    """A tar with `program` as /pause; always the same bytes for the same program."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    return buffer.getvalue()
