"""An nginx image from Debian's packages, where no registry is in reach: `nginx:1.7.9` and `nginx:latest`.

`python -m images.nginx` makes it: mmdebstrap fetches about 40 MB from the Debian mirror, which takes a minute or two.
Where images of these names exist, whoever made them, they are left alone.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Final

import docker
from docker.errors import ImageNotFound

from mesh.errors import Terminal

TAGS: Final = ("1.7.9", "latest")
_CHANGES: Final = ['CMD ["nginx", "-g", "daemon off;"]', "EXPOSE 80"]
_LOGS_TO_OUTPUT: Final = (
    'ln -sf /dev/stdout "$1/var/log/nginx/access.log"',
    'ln -sf /dev/stderr "$1/var/log/nginx/error.log"',
)


def ensure_nginx_image(client: docker.DockerClient | None = None, suite: str = "bookworm") -> tuple[str, ...]:
    """Make the tags that are missing; returns those made. Raises `Terminal` when mmdebstrap is missing or fails."""
    docker_client = client or docker.from_env()
    try:
        missing = tuple(tag for tag in TAGS if not _present(docker_client, f"nginx:{tag}"))
        if missing:
            first, *others = missing
            with tempfile.TemporaryDirectory() as directory:
                layer = Path(directory) / "nginx.tar"
                _bootstrap(layer, suite)
                docker_client.api.import_image_from_file(str(layer), repository="nginx", tag=first, changes=_CHANGES)
            for tag in others:
                docker_client.images.get(f"nginx:{first}").tag("nginx", tag)
        return missing
    finally:
        if client is None:
            docker_client.close()


def _bootstrap(target: Path, suite: str) -> None:
    """A root file system with nginx and what it needs, as a tar."""
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=essential",
        "--include=nginx-light",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        *(f"--customize-hook={hook}" for hook in _LOGS_TO_OUTPUT),
        suite,
        str(target),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Terminal("mmdebstrap is missing: install Debian's package mmdebstrap") from error
    except subprocess.CalledProcessError as error:
        raise Terminal(f"mmdebstrap failed: {error.stderr.strip()[-500:]}") from error


def _present(client: docker.DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


if __name__ == "__main__":
    ensure_nginx_image()
