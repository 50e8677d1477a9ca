"""A holder on the real Docker: hostNetwork containers land in the node's namespace, also after it restarted."""

import io
import os
import shutil
import subprocess
import tarfile
import time

import pytest

from agents.network.machine import HOLDER_MOUNT, holder_command, holder_ready, node_netns
from tests.support.netlab import raised, sh, unique

BUSYBOX = shutil.which("busybox")
pytestmark = [
    pytest.mark.root,
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("docker") or not BUSYBOX, reason="needs root and Docker"),
]


@pytest.fixture
def image():
    """An image that holds nothing but busybox."""
    archive, tag = io.BytesIO(), f"covey-test/{unique('busybox')}:1"
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for applet in ("sh", "sleep", "nsenter", "ip"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    subprocess.run(["docker", "import", "-", tag], input=archive.getvalue(), check=True, capture_output=True)
    yield tag
    sh(f"docker rmi -f {tag}")


def _await_ready(name: str, cluster: str) -> None:
    for _ in range(400):
        pid = int(sh(f"docker inspect -f '{{{{.State.Pid}}}}' {name}"))
        if pid and holder_ready(pid, cluster, "n1"):
            return
        time.sleep(0.02)
    raise AssertionError("the holder did not enter the node's namespace")


def test_host_network_means_the_nodes(image):
    with raised(1) as topology:
        holder = unique("covey-test-holder-")
        mount = f"{node_netns(topology.cluster, 'n1')}:{HOLDER_MOUNT}:ro"
        command = " ".join(holder_command())
        try:
            sh(
                f"docker run -d --name {holder} --network none --cap-drop ALL --cap-add SYS_ADMIN -v {mount}"
                f" {image} {command}"
            )
            for _ in range(2):
                _await_ready(holder, topology.cluster)
                inside = sh(f"docker run --rm --network container:{holder} {image} ip addr show eth0")
                assert topology.nodes[0].address in inside
                sh(f"docker restart -t 0 {holder}")
        finally:
            sh(f"docker rm -f {holder}", check=False)
