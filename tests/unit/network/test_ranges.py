"""Choosing address ranges beside the routes that a machine has."""

import pytest

from agents.network.ranges import Ranges, choose_ranges
from mesh.errors import Terminal


@pytest.mark.parametrize(
    ("routes", "chosen"),
    [
        ([], Ranges("10.63.0.0/24", "10.64.0.0/16", "10.96.0.0/16")),
        (
            ["0.0.0.0/0", "192.168.1.0/24", "172.17.0.1/16", "fd00::/64"],
            Ranges("10.63.0.0/24", "10.64.0.0/16", "10.96.0.0/16"),
        ),
        (["0.0.0.0/1", "128.0.0.0/1", "10.8.0.1/32"], Ranges("10.63.0.0/24", "10.64.0.0/16", "10.96.0.0/16")),
        (["10.64.3.0/24"], Ranges("10.63.0.0/24", "10.0.0.0/16", "10.96.0.0/16")),
        (["10.63.0.7"], Ranges("10.0.0.0/24", "10.64.0.0/16", "10.96.0.0/16")),
        (["10.0.0.0/8"], Ranges("172.18.0.0/24", "172.16.0.0/16", "172.17.0.0/16")),
        (["10.0.0.0/8", "172.16.0.0/12"], Ranges("100.66.0.0/24", "100.64.0.0/16", "100.65.0.0/16")),
    ],
)
def test_ranges(routes, chosen):
    assert choose_ranges(routes) == chosen


def test_nothing_free():
    with pytest.raises(Terminal, match="no private /16 range is free for the cluster's pods"):
        choose_ranges(["10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10"])
