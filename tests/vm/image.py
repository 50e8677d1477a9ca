"""The disk of a machine that has nothing: Debian 12 with a kernel, systemd, sshd, git, make and sudo, and a user `dev`.

Built by mmdebstrap as root, in minutes, and kept below `build/vm` until its recipe or the pinned dependencies change.
The one thing it has beside what a fresh Debian has: the wheels of requirements.lock, so that pip needs no index.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "vm"
SUITE = "bookworm"
DISK = "16G"
PACKAGES = ("linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "dbus", "udev", "kmod", "openssh-server",
            "ca-certificates", "git", "make", "sudo")  # fmt: skip
"""What a Debian machine that one can reach has, and what the README asks for. No iproute2, python3 or docker.io."""
LOCK = ROOT / "requirements.lock"
BUILD_SYSTEM = "setuptools>=77"
"""What pip needs beside the lock to install the clone itself (pyproject.toml, build-system)."""
SETUP = r"""
set -eu
root="$1" wheels="$2" key="$3"
chroot "$root" useradd --create-home --shell /bin/bash dev
echo 'dev ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/dev"
install -d -m 700 "$root/home/dev/.ssh"
cp "$key.pub" "$root/home/dev/.ssh/authorized_keys"
chroot "$root" chown -R dev:dev /home/dev/.ssh
echo machine >"$root/etc/hostname"
printf '127.0.0.1 localhost machine\n::1 localhost\n' >"$root/etc/hosts"
echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/eth0.network"
chroot "$root" systemctl enable -q systemd-networkd
chroot "$root" systemctl mask -q apt-daily.timer apt-daily-upgrade.timer
echo 'Acquire::Languages "none";' >"$root/etc/apt/apt.conf.d/99languages"
mkdir -p "$root/opt/wheels"
cp "$wheels"/*.whl "$root/opt/wheels"
printf '[global]\nno-index = true\nfind-links = /opt/wheels\n' >"$root/etc/pip.conf"
"""
RESOLVER = "nameserver 10.0.2.3\n"
"""QEMU's own, which asks whom this machine asks."""


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU boots, and the key of `dev`."""

    disk: Path
    kernel: Path
    initrd: Path
    key: Path


def ensure_image() -> Image:
    """The image, built now if there is none of this recipe."""
    recipe = hashlib.sha256(Path(__file__).read_bytes() + LOCK.read_bytes()).hexdigest()[:12]
    folder = CACHE / recipe
    if not folder.exists():
        building = CACHE / "building"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        _build(building)
        building.rename(folder)
    return Image(folder / "disk.img", folder / "vmlinuz", folder / "initrd.img", folder / "key")


def _build(folder: Path) -> None:
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))
    wheels, setup, tree = folder / "wheels", folder / "setup.sh", folder / "root"
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels),
         "--requirement", str(LOCK), BUILD_SYSTEM)  # fmt: skip
    setup.write_text(SETUP)
    _run(
        "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}",
        f"--customize-hook=sh {setup} \"$1\" {wheels} {folder / 'key'}", SUITE, str(tree),
    )  # fmt: skip
    (tree / "etc" / "resolv.conf").write_text(RESOLVER)
    for name in ("vmlinuz", "initrd.img"):
        (boot,) = (tree / "boot").glob(f"{name}-*")
        shutil.copy(boot, folder / name)
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(folder / "disk.img"), DISK)
    shutil.rmtree(tree)
    shutil.rmtree(wheels)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
