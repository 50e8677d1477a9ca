#!/usr/bin/env bash
# Installs what is missing on a Debian or Ubuntu machine and starts what must run: Debian packages, a virtual
# environment with the pinned dependencies, the Docker daemon. Safe to run again; does nothing where nothing is missing.
#   bootstrap.sh python    only the virtual environment
#   bootstrap.sh all       everything a cluster on this machine needs
#   bootstrap.sh test      and what the tests need beside it
#   bootstrap.sh vm        what the tests in virtual machines need, which is no cluster on this machine
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
fail() { printf 'covey: %s\n' "$*" >&2; exit 1; }

if [ "$(uname -s)" != Linux ]; then
  fail "clusters on one machine need Linux network namespaces. Use virtual machines here: vagrant up"
fi
SUDO=""
if [ "$(id -u)" != 0 ]; then
  SUDO="sudo --preserve-env=DOCKER_HOST"
  command -v sudo >/dev/null || fail "run this as root, or install sudo"
fi
DOCKER_URL="${DOCKER_HOST:-unix:///var/run/docker.sock}"

missing() { # the packages of "$@" that are not installed
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
  done
}

install_packages() {
  local wanted
  wanted=$(missing "$@")
  [ -n "$wanted" ] || return 0
  command -v apt-get >/dev/null || fail "please install these packages by this system's own means: $wanted"
  say "installing Debian packages: $wanted"
  $SUDO apt-get update -qq
  # shellcheck disable=SC2086
  $SUDO env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $wanted >/dev/null
}

install_python() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || install_packages python3
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or later is needed, this is $(python3 --version)"
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  if [ ! -e .venv/.installed ] || [ requirements.lock -nt .venv/.installed ] || [ pyproject.toml -nt .venv/.installed ]; then
    say "installing the Python dependencies into .venv"
    [ -x .venv/bin/python ] || python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e . ||
      fail "installing the dependencies failed; what pip says is above"
    touch .venv/.installed
  fi
}

docker_answers() { $SUDO python3 - "${DOCKER_URL#unix://}" <<'PY'
import socket, sys
try:
    s = socket.socket(socket.AF_UNIX); s.settimeout(30); s.connect(sys.argv[1])
    s.sendall(b"GET /_ping HTTP/1.0\r\n\r\n"); sys.exit(b"200" not in s.recv(200))
except OSError:
    sys.exit(1)
PY
}

check_docker() { # a daemon that is there is used as it is, or not at all: say so before installing what only Covey needs
  if [ -n "${DOCKER_HOST:-}" ] || docker_answers; then
    $SUDO env PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m cli.preflight "$DOCKER_URL"
  fi
}

start_docker() {
  docker_answers && return 0
  if [ ! -e /etc/docker/daemon.json ]; then # a daemon that we start keeps containers running while it restarts
    $SUDO mkdir -p /etc/docker
    echo '{"live-restore": true}' | $SUDO tee /etc/docker/daemon.json >/dev/null
  fi
  command -v dockerd >/dev/null || install_packages docker.io
  say "starting the Docker daemon"
  if [ -d /run/systemd/system ]; then
    $SUDO systemctl start docker
  else
    # shellcheck disable=SC2024
    $SUDO sh -c 'setsid nohup dockerd >>/var/log/dockerd.log 2>&1 </dev/null &'
  fi
  for _ in $(seq 1 120); do
    docker_answers && return 0
    sleep 0.25
  done
  fail "the Docker daemon does not answer on /var/run/docker.sock; see 'journalctl -u docker' or /var/log/dockerd.log"
}

install_machine() {
  install_python
  check_docker
  install_packages ca-certificates iproute2 iptables nftables conntrack procps util-linux kmod busybox-static
  if grep -qs Y /sys/module/apparmor/parameters/enabled; then
    install_packages apparmor # without its parser Docker runs no container on such a kernel
  fi
  # By the caller: folders that root makes for compiled files are not the caller's to write to or to remove.
  .venv/bin/python -m compileall -q agents cli controlplane images mesh netproxy
  start_docker
}

case "${1:-all}" in
  python) install_python ;;
  all) install_machine ;;
  test)
    install_machine
    install_packages docker-registry iputils-ping binutils
    ;;
  vm)
    install_python
    install_packages qemu-system-x86 qemu-utils mmdebstrap e2fsprogs openssh-client
    ;;
  *) fail "usage: $0 python|all|test|vm" ;;
esac
