"""Which sysctls are the network's, and where they lie."""

import pytest

from agents.node import sysctls


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.core.somaxconn", "net/core/somaxconn"),
        ("net/core/somaxconn", "net/core/somaxconn"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_the_first_separator_is_the_separator(name: str, path: str) -> None:
    assert sysctls.path_of(name) == path


def test_they_are_told_apart_by_their_first_part() -> None:
    pod = {"spec": {"securityContext": {"sysctls": [{"name": "net/core/somaxconn", "value": "1"},
                                                   {"name": "kernel.msgmax", "value": "2"},
                                                   {"name": "network.none", "value": "3"}]}}}  # fmt: skip
    asked = sysctls.of_pod(pod)
    assert sysctls.of_network(asked) == {"net/core/somaxconn": "1"}
    assert sysctls.of_others(asked) == {"kernel.msgmax": "2", "network.none": "3"}
