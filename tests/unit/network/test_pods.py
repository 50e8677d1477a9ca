"""A pod's wiring: what is wanted, and the plan from whatever is there."""

from dataclasses import replace

import pytest

from agents.network.items import Ensure, Remove, Route, Sysctl, Veth
from agents.network.names import mac_of, pod_link
from agents.network.pods import NOTHING, Observed, Wiring, in_pod, on_node, plan_attach

WIRING = Wiring("s1", "/run/netns/s1", ("10.64.1.7",), ("10.63.0.10",), 1500)
NODE, POD = on_node(WIRING), in_pod(WIRING)


def test_the_node_routes_to_the_pod_over_its_own_link():
    routes = [item for item in NODE if isinstance(item, Route)]
    assert routes == [Route("10.64.1.7/32", pod_link("s1"), source="10.63.0.10", protocol=201)]


def test_the_pod_leads_everything_to_the_link_local_next_hop():
    routes = [item for item in POD if isinstance(item, Route)]
    assert routes == [Route("0.0.0.0/0", "eth0", gateway="169.254.1.1", on_link=True)]


def test_both_families():
    wiring = Wiring("s1", "/x", ("10.64.1.7", "fd00::7"), ("10.63.0.10", "fd01::1"), 1500)
    assert [r.destination for r in on_node(wiring) if isinstance(r, Route)] == ["10.64.1.7/32", "fd00::7/128"]
    assert [r.destination for r in in_pod(wiring) if isinstance(r, Route)] == ["0.0.0.0/0", "::/0"]


def test_everybody_may_ping_and_listen_below_1024_unless_the_pod_says_otherwise():
    start = "net/ipv4/ip_unprivileged_port_start"
    assert Sysctl(start, "0") in POD
    assert Sysctl("net/ipv4/ping_group_range", "0\t2147483647") in POD
    asked = in_pod(replace(WIRING, sysctls=(Sysctl(start, "80"),)))
    assert [item.value for item in asked if isinstance(item, Sysctl) and item.name == start] == ["80"]


def test_names_fit_the_kernel_and_addresses_are_unicast_and_local():
    assert len(pod_link("f" * 64)) <= 15
    assert mac_of("10.64.1.7") == "02:c0:0a:40:01:07"


@pytest.mark.parametrize(
    ("observed", "node", "pod"),
    [
        (NOTHING, [Ensure(i) for i in NODE], [Ensure(i) for i in POD]),
        (Observed(NODE, POD, joined=True), [], []),
        (Observed(NODE[:2], POD[:3], joined=True), [Ensure(i) for i in NODE[2:]], [Ensure(i) for i in POD[3:]]),
        (Observed(NODE, (), joined=False), [Remove(WIRING.link), *map(Ensure, NODE)], [Ensure(i) for i in POD]),
    ],
)
def test_plan(observed, node, pod):
    plan = plan_attach(WIRING, observed)
    assert (list(plan.node), list(plan.pod)) == (node, pod)


def test_after_a_crash_at_any_moment_the_next_plan_completes_the_first():
    steps = [*plan_attach(WIRING, NOTHING).node, *plan_attach(WIRING, NOTHING).pod]
    for done in range(len(steps) + 1):
        node = {i.item for i in steps[:done] if i.item in NODE}
        pod = {i.item for i in steps[:done] if i.item in POD}
        joined = any(isinstance(item, Veth) for item in node)
        plan = plan_attach(WIRING, Observed(tuple(node), tuple(pod), joined=joined))
        assert node | {a.item for a in plan.node} == set(NODE)
        assert pod | {a.item for a in plan.pod} == set(POD)
        assert not any(isinstance(a, Remove) for a in plan.node)
