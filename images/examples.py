"""The example images, made from the machine's static busybox (Debian's busybox-static): nothing is downloaded.

- `covey/busybox:1`: sh, httpd, nslookup, wget and the other applets.
- `covey/hello:1`: serves `Hello from <hostname>` on port 8080 (or $PORT); `/healthz` answers ok.

`python -m images.examples` makes both.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import docker
from docker.errors import ImageNotFound

from mesh.errors import Terminal

BUSYBOX: Final = "covey/busybox:1"
HELLO: Final = "covey/hello:1"

_SERVE: Final = """#!/bin/sh
# Serves a page that names its pod, until it is asked to stop.
mkdir -p /www
echo "Hello from $(hostname)" > /www/index.html
echo ok > /www/healthz
httpd -f -p "${PORT:-8080}" -h /www &
trap 'kill $!; exit 0' TERM INT
echo "serving on port ${PORT:-8080}"
wait
"""


def ensure_example_images(client: docker.DockerClient | None = None) -> tuple[str, ...]:
    """Make the images that are missing; returns the names of those made. Raises `Terminal` without busybox-static."""
    docker_client = client or docker.from_env()
    try:
        made = []
        for name, files, changes in (
            (BUSYBOX, {}, ['CMD ["sh"]']),
            (HELLO, {"bin/serve": _SERVE.encode()}, ['CMD ["/bin/serve"]', "EXPOSE 8080"]),
        ):
            if not _present(docker_client, name):
                _import(docker_client, name, busybox_layer(files), changes)
                made.append(name)
        return tuple(made)
    finally:
        if client is None:
            docker_client.close()


def busybox_layer(more: dict[str, bytes]) -> bytes:
    """A tar of a root file system: busybox, a link for each of its applets, and the executable files in `more`."""
    path = Path("/bin/busybox")
    if not path.exists():
        raise Terminal(f"{path} is missing: install Debian's package busybox-static")
    program = path.read_bytes()
    if b"/lib64/ld-linux" in program or b"/lib/ld-linux" in program:
        raise Terminal(f"{path} is not static: install Debian's package busybox-static in place of busybox")
    applets = subprocess.run([path, "--list"], check=True, capture_output=True, text=True).stdout.split()
    files = {
        "bin/busybox": program,
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
        **more,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("var", 0o755)):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, mode
            tar.addfile(directory)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(entry, io.BytesIO(content))
        for applet in applets:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
            if applet != "busybox":
                tar.addfile(link)
    return buffer.getvalue()


def _present(client: docker.DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def _import(client: docker.DockerClient, name: str, layer: bytes, changes: list[str]) -> None:
    repository, tag = name.split(":")
    client.api.import_image_from_data(layer, repository=repository, tag=tag, changes=changes)


if __name__ == "__main__":
    ensure_example_images()
