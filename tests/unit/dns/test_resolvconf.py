"""Which resolvers are asked about the rest of the world."""

import pytest

from agents.dns.resolvconf import Upstream, choose_upstreams

STUB = "# made by systemd\nnameserver 127.0.0.53\noptions edns0\n"
REAL = "nameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch lan\nnameserver what\n"


@pytest.mark.parametrize(
    ("configured", "resolv_conf", "systemd", "own", "chosen"),
    [
        ([], REAL, "", True, [Upstream("192.0.2.1"), Upstream("fe80::1")]),
        ([], STUB, REAL, True, [Upstream("192.0.2.1"), Upstream("fe80::1")]),
        ([], STUB, REAL, False, [Upstream("192.0.2.1"), Upstream("fe80::1")]),
        ([], STUB, "", False, [Upstream("127.0.0.53")]),
        ([], "nameserver 127.0.0.1", "nameserver 127.0.0.1", True, [Upstream("127.0.0.1", from_machine=True)]),
        (["192.0.2.9:5353", "192.0.2.8"], REAL, "", True, [Upstream("192.0.2.9", 5353), Upstream("192.0.2.8")]),
        (["[fd00::1]:53", "fd00::2"], REAL, "", True, [Upstream("fd00::1"), Upstream("fd00::2")]),
        (["127.0.0.1:5353"], REAL, "", True, [Upstream("127.0.0.1", 5353, from_machine=True)]),
        ([], "", "", True, []),
    ],
)
def test_upstreams(configured, resolv_conf, systemd, own, chosen):
    assert list(choose_upstreams(configured, resolv_conf, systemd, own_namespace=own)) == chosen
