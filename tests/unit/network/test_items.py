"""The difference between wanted and observed items."""

import pytest

from agents.network.items import Address, Bridge, Ensure, Remove, Route, Sysctl, Up, difference

BRIDGE = Bridge("br", "ours", 1500, "02:00:00:00:00:01")
ADDRESS = Address("10.0.0.1/24", "br")
ROUTE = Route("10.1.0.0/24", "br", gateway="10.0.0.2")
MOVED = Route("10.1.0.0/24", "br", gateway="10.0.0.3")
ON = Sysctl("net/ipv4/ip_forward", "1")
OFF = Sysctl("net/ipv4/ip_forward", "0")
OTHER_MTU = Bridge("br", "ours", 1400, "02:00:00:00:00:01")


@pytest.mark.parametrize(
    ("wanted", "observed", "actions"),
    [
        ([], [], []),
        ([BRIDGE, ADDRESS], [], [Ensure(BRIDGE), Ensure(ADDRESS)]),
        ([BRIDGE, ADDRESS], [ADDRESS, BRIDGE], []),
        ([BRIDGE], [BRIDGE, ADDRESS, ROUTE], [Remove(ROUTE), Remove(ADDRESS)]),
        ([MOVED], [ROUTE], [Ensure(MOVED)]),  # replaced in place: no moment without a route
        ([ON], [OFF], [Ensure(ON)]),
        ([OTHER_MTU, ADDRESS], [BRIDGE, ADDRESS], [Remove(BRIDGE), Ensure(OTHER_MTU), Ensure(ADDRESS)]),
        ([Up("eth0")], [Up("eth0"), Up("lo")], [Remove(Up("lo"))]),
    ],
)
def test_difference(wanted, observed, actions):
    assert list(difference(wanted, observed)) == actions


def test_actions_say_what_they_do():
    assert [str(a) for a in difference([MOVED], [ADDRESS])] == [
        "remove address 10.0.0.1/24 on br",
        "ensure route 10.1.0.0/24 via 10.0.0.3 dev br",
    ]
