#!/usr/bin/env bash
# Installs what is missing on a Debian or Ubuntu machine and starts what must run: Debian packages, a virtual
# environment with the pinned dependencies, the Docker daemon. Safe to run again; does nothing where nothing is missing.
#   bootstrap.sh python    only the virtual environment
#   bootstrap.sh all       everything a cluster on this machine needs
#   bootstrap.sh test      and what the tests need beside it
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
fail() { printf 'covey: %s\n' "$*" >&2; exit 1; }

if [ "$(uname -s)" != Linux ]; then
  fail "clusters on one machine need Linux network namespaces. Use virtual machines here: vagrant up"
fi
SUDO=""
if [ "$(id -u)" != 0 ]; then
  SUDO="sudo"
  command -v sudo >/dev/null || fail "run this as root, or install sudo"
fi

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
  $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null
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

docker_answers() { $SUDO python3 - <<'PY'
import socket, sys
try:
    s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect("/var/run/docker.sock")
    s.sendall(b"GET /_ping HTTP/1.0\r\n\r\n"); sys.exit(b"200" not in s.recv(200))
except OSError:
    sys.exit(1)
PY
}

start_docker() {
  docker_answers && return 0
  if ! command -v dockerd >/dev/null; then
    if [ ! -e /etc/docker/daemon.json ]; then # a daemon that we install keeps containers running while it restarts
      $SUDO mkdir -p /etc/docker
      echo '{"live-restore": true}' | $SUDO tee /etc/docker/daemon.json >/dev/null
    fi
    install_packages docker.io
  fi
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
  install_packages ca-certificates iproute2 iptables nftables conntrack procps util-linux kmod busybox-static
  install_python
  start_docker
}

case "${1:-all}" in
  python) install_python ;;
  all) install_machine ;;
  test)
    install_packages docker-registry iputils-ping binutils
    install_machine
    ;;
  *) fail "usage: $0 python|all|test" ;;
esac
