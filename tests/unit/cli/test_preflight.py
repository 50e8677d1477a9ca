"""Checks before a cluster is made."""

from __future__ import annotations

import socket

from cli.preflight import check_ports

NOT_OURS_YET = "198.51.100.1"
"""TEST-NET-2: no machine has it."""


def test_a_port_is_checked_on_an_address_that_is_still_to_come() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        (finding,) = check_ports([(NOT_OURS_YET, port, "broker")])
        assert f"port {port} (broker) is taken" in str(finding)
        assert "covey up --broker-port PORT" in str(finding)
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        elsewhere.listen()
        port = elsewhere.getsockname()[1]
        assert list(check_ports([(NOT_OURS_YET, port, "broker")])) == []
