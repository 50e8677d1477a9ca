"""A virtual machine in QEMU: booted, reached by ssh, rebooted, thrown away.

KVM is not asked for: where the machine is itself a virtual one, /dev/kvm may be there and fail at a guest's first
unusual instruction. Everything takes ten to twenty times as long: waits are generous, and nothing is measured here.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.support.cluster import free_port
from tests.vm.image import ROOT, Image

BOOT_SECONDS = 600.0
COMMAND_SECONDS = 300.0
_ARGUMENTS = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off"


class Guest:
    """One machine. What it writes goes to an overlay of its own below `folder`, which outlives a boot."""

    def __init__(self, image: Image, folder: Path) -> None:
        self._image = image
        self._folder = folder
        self._disk = folder / "disk.qcow2"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        backing = ("-F", "raw", "-b", str(image.disk))
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self._disk)], check=True)

    def boot(self, *arguments: str) -> None:
        """Switch it on, with more arguments for its kernel, and wait until it can be reached."""
        self._process = subprocess.Popen([
            "qemu-system-x86_64", "-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072",
            "-display", "none", "-monitor", "none", "-serial", f"file:{self._folder / 'console.log'}",
            "-drive", f"file={self._disk},if=virtio,cache=unsafe", "-device", "virtio-rng-pci",
            "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self._port}-:22", "-device", "virtio-net-pci,netdev=net",
            "-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd),
            "-append", " ".join((_ARGUMENTS, *arguments)),
        ])  # fmt: skip
        self._await_boot("")

    def reboot(self) -> None:
        """Let it restart by itself, and wait until it can be reached again."""
        before = self.run("cat /proc/sys/kernel/random/boot_id")
        self._ask("sudo systemctl reboot", COMMAND_SECONDS)
        self._await_boot(before)

    def off(self) -> None:
        """Shut it down in order; its disk stays."""
        if self._process is None:
            return
        self._ask("sudo systemctl poweroff", COMMAND_SECONDS)
        try:
            self._process.wait(COMMAND_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """Pull the plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def run(self, command: str, within: float = COMMAND_SECONDS) -> str:
        """The output of a shell command of `dev`'s; fails the test with what it said when it fails."""
        done = self._ask(command, within)
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def refused(self, command: str, within: float = COMMAND_SECONDS) -> str:
        """What a command that must fail says."""
        done = self._ask(command, within)
        assert done.returncode != 0, f"{command} did not fail: {done.stdout}"
        return done.stdout + done.stderr

    def clone(self, folder: str) -> None:
        """Lay the work tree down there, as a clone has it: what git knows of, and nothing else."""
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        pack = ["tar", "--create", "--null", "--files-from=-", "--owner=0", "--group=0"]
        packed = subprocess.run(pack, cwd=ROOT, input=files, capture_output=True, check=True).stdout
        unpack = self._ssh(f"mkdir -p {folder} && tar --extract --directory={folder}")
        subprocess.run(unpack, input=packed, check=True, timeout=COMMAND_SECONDS)

    def _await_boot(self, before: str) -> None:
        """Until it runs with another boot id than `before`."""
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, "QEMU ended"
            done = self._ask("cat /proc/sys/kernel/random/boot_id", 60)
            if done.returncode == 0 and done.stdout != before:
                return
            time.sleep(1)
        console = (self._folder / "console.log").read_text(errors="replace")
        raise AssertionError(f"it does not boot:\n{console[-4000:]}")

    def _ask(self, command: str, within: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._ssh(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within, check=False
        )

    def _ssh(self, command: str) -> list[str]:
        nobody = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
        limits = ("-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=60", "-o", "BatchMode=yes")
        to = ("-i", str(self._image.key), "-p", str(self._port), "dev@127.0.0.1")
        return ["ssh", *nobody, *limits, *to, command]
