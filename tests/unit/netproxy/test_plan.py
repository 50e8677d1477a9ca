"""The rule table, differences, and that both back ends' increments add up to a full sync."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.objects.meta import Key
from netproxy.cluster import Cluster
from netproxy.endpoints import Backend
from netproxy.flows import Entry, Where, affected, entries_of, stale_entries
from netproxy.iptables import state as iptables
from netproxy.model import Frontend, Masquerade, Refusal, Rule
from netproxy.nftables import state as nftables
from netproxy.nftables.layout import Element
from netproxy.plan import Change, RuleTable, diff

CLUSTER = Cluster(("10.64.0.0/16",), ("10.96.0.0/16",), "10.96.0.10")
A, B = Backend("10.64.0.2", 8080, True), Backend("10.64.1.2", 8080)
WEB, DNS = Frontend("10.96.0.20", "tcp", 80), Frontend("10.96.0.21", "udp", 53)


def test_difference() -> None:
    one, two = Rule("default/a", (A,)), Rule("default/a", (A, B))
    assert diff({WEB: one}, {WEB: one}) == ()
    assert diff({WEB: one}, {DNS: one}) == (Change(WEB, one, None), Change(DNS, None, one))
    assert diff({WEB: one}, {WEB: two}) == (Change(WEB, one, two),)
    assert str(Change(WEB, one, two)) == "change 10.96.0.20:80/tcp of default/a"


def test_the_first_of_two_services_has_a_frontend() -> None:
    table = RuleTable()
    first, second = Rule("default/a", (A,)), Rule("default/b", (B,))
    table.replace(Key("default", "b"), {WEB: second})
    assert table.replace(Key("default", "a"), {WEB: first}) == (Change(WEB, second, first),)
    assert table.replace(Key("default", "b"), {WEB: second, DNS: second}) == (Change(DNS, None, second),)
    assert table.replace(Key("default", "a"), {}) == (Change(WEB, first, second),)
    assert table.replace(Key("default", "b"), {}) == (Change(WEB, second, None), Change(DNS, second, None))
    assert table.rules == {}


def test_udp_frontends_that_lose_a_backend_or_had_none_leave_flows_behind() -> None:
    both, one, none = Rule("s", (A, B)), Rule("s", (B,)), Rule("s", ())
    assert affected((Change(DNS, both, one), Change(WEB, both, one))) == {DNS}
    assert affected((Change(DNS, none, one),)) == {DNS}
    assert affected((Change(DNS, None, one),)) == {DNS}
    assert affected((Change(DNS, both, None),)) == {DNS}
    assert affected((Change(DNS, one, both), Change(WEB, None, both), Change(DNS, None, none))) == set()


backends = st.lists(
    st.builds(Backend, st.sampled_from(["10.64.0.2", "10.64.0.3", "10.64.1.2"]), st.just(8080), st.booleans()),
    unique_by=lambda b: b.address,
    max_size=3,
).map(lambda found: tuple(sorted(found)))


@st.composite
def worlds(draw: st.DrawFn) -> dict[Frontend, Rule]:
    """Three Services, each with a ClusterIP rule and, perhaps, an external one for its NodePort."""
    found = {}
    for number in draw(st.sets(st.integers(0, 2))):
        protocol = draw(st.sampled_from(["tcp", "udp"]))
        affinity = draw(st.sampled_from([0, 0, 60]))
        refusal = draw(st.sampled_from(list(Refusal)))
        name, chosen = f"default/s{number}", draw(backends)
        found[Frontend(f"10.96.0.{number}", protocol, 80)] = Rule(
            name, chosen, affinity_seconds=affinity, refusal=refusal
        )
        if draw(st.booleans()):
            local = tuple(b for b in chosen if b.local)
            external = draw(
                st.sampled_from(
                    [
                        Rule(name, chosen, Masquerade.ALWAYS, affinity_seconds=affinity),
                        Rule(name, local, Masquerade.NEVER, inside=chosen, affinity_seconds=affinity, refusal=refusal),
                    ]
                )
            )
            found[Frontend("0.0.0.0", protocol, 30000 + number)] = external
            if draw(st.booleans()):
                found[Frontend(f"203.0.113.{number}", protocol, 80)] = external
    return found


@given(st.lists(worlds(), min_size=1, max_size=5))
def test_nftables_increments_add_up(steps: list[dict[Frontend, Rule]]) -> None:
    contents, old = nftables.Contents(), {}
    kernel: dict[str, dict[str, str]] = {name: {} for name in contents.sets}
    chains: set[str] = set()
    for new in steps:
        delta = contents.apply(diff(old, new))
        for element in delta.remove:
            assert kernel[element.set].pop(element.key) == element.value
        for element in delta.add:
            assert element.key not in kernel[element.set]
            kernel[element.set][element.key] = element.value
        chains = (chains | set(delta.new_chains)) - set(delta.old_chains)
        whole = nftables.Contents(new)
        assert kernel == whole.sets == contents.sets
        assert chains == whole.chains
        old = new


@given(st.lists(worlds(), min_size=1, max_size=5))
def test_iptables_increments_add_up(steps: list[dict[Frontend, Rule]]) -> None:
    contents, old = iptables.Contents(CLUSTER), {}
    kernel = dict(contents.chains)
    for new in steps:
        delta = contents.apply(diff(old, new))
        for place in delta.drop:
            del kernel[place]
        for place, rules in delta.write.items():
            assert kernel.get(place) != rules
            kernel[place] = rules
        assert kernel == iptables.Contents(CLUSTER, new).chains == contents.chains
        for place, rules in kernel.items():
            targets = {rule.rpartition(" -j ")[2] for rule in rules}
            assert {t for t in targets if t.startswith("COVEY-")} <= {p.chain for p in kernel if p.table == place.table}
        old = new


def test_reading_a_listing() -> None:
    text = """table ip covey-proxy {
    comment "covey proxy 0123"
    map services {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.96.0.2 . 17 . 53 : goto refuse,
        10.96.0.1 . 6 . 80 : goto tcp-cluster-3 }
    }

    set local-backends {
        type ipv4_addr
        elements = { 10.64.0.2, 10.64.0.3,
        10.64.0.4 }
    }

    map affinity {
        type ipv4_addr . ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
        size 65535
        flags dynamic,timeout
        elements = { 192.0.2.2 . 10.96.0.1 . 6 . 80 timeout 3h expires 2h59m59s96ms : 10.64.0.2 . 8080 }
    }

    chain prerouting {
        type nat hook prerouting priority -105; policy accept;
        jump services
    }
}
""".replace("    ", "\t")
    found = nftables.parse(text.splitlines())
    assert found.version == "covey proxy 0123"
    assert found.sets["services"] == {"10.96.0.2 . 17 . 53": "goto refuse", "10.96.0.1 . 6 . 80": "goto tcp-cluster-3"}
    assert found.sets["local-backends"] == {"10.64.0.2": "", "10.64.0.3": "", "10.64.0.4": ""}
    assert found.chains == {"prerouting": 1}
    assert found.affinity == [("192.0.2.2 . 10.96.0.1 . 6 . 80", "10.64.0.2 . 8080")]
    sticky = {Frontend("10.96.0.1", "tcp", 80): Rule("s", (B,), affinity_seconds=10800)}
    assert list(nftables.stale_affinity(found.affinity, sticky)) == [
        Element("affinity", "192.0.2.2 . 10.96.0.1 . 6 . 80", "10.64.0.2 . 8080")
    ]


FLOWS = entries_of(
    f"udp      17 21 src={client} dst={asked} sport=4000 dport={port} [UNREPLIED] src={answers} dst={client} "
    f"sport={answering} dport=4000 mark=0 use=1"
    for client, asked, port, answers, answering in (
        ("10.64.0.9", "10.96.0.21", 53, "10.64.0.2", 8080),  # to a backend
        ("10.64.0.9", "10.96.0.21", 53, "10.96.0.21", 53),  # from before there was one
        ("10.64.0.8", "10.96.0.21", 53, "10.96.0.21", 53),
        ("192.0.2.2", "192.0.2.1", 30053, "10.64.9.9", 8080),  # to a backend that is gone
        ("192.0.2.2", "192.0.2.1", 30054, "10.64.0.2", 8080),  # somebody else's: no such Service
        ("10.64.0.9", "8.8.8.8", 30053, "8.8.8.8", 30053),
        ("10.64.0.9", "10.96.0.77", 53, "10.64.0.2", 8080),  # of a Service that is gone
        ("10.64.0.9", "10.96.0.78", 53, "10.96.0.78", 53),  # to a Service that never was
    )
)


@pytest.mark.parametrize("asked", ["", "packets=3 bytes=180 "])
@pytest.mark.parametrize("answered", ["", "packets=0 bytes=0 "])
@pytest.mark.parametrize("unreplied", ["", "[UNREPLIED] "])
def test_a_flow_is_read_whether_or_not_the_kernel_counts_its_packets(asked: str, unreplied: str, answered: str) -> None:
    line = (
        f"udp      17 21 src=10.64.0.9 dst=10.96.0.21 sport=4000 dport=53 {asked}{unreplied}"
        f"src=10.64.0.2 dst=10.64.0.9 sport=8080 dport=4000 {answered}mark=0 use=1"
    )
    assert entries_of([line]) == {Entry("10.96.0.21", 53, "10.64.0.2", 8080)}


WHERE = Where(["192.0.2.1"], ["10.96.0.0/16"])
NODE_DNS = Frontend("0.0.0.0", "udp", 30053)


@pytest.mark.parametrize(
    ("rules", "frontends", "stale"),
    [
        ({DNS: (A,), NODE_DNS: (A,)}, None, {"10.96.0.21 10.96.0.21", "192.0.2.1 10.64.9.9", "10.96.0.77 10.64.0.2"}),
        ({DNS: (A,), NODE_DNS: (A,)}, {DNS}, {"10.96.0.21 10.96.0.21"}),
        ({DNS: (B,)}, {DNS}, {"10.96.0.21 10.96.0.21", "10.96.0.21 10.64.0.2"}),
        ({DNS: ()}, {DNS}, {"10.96.0.21 10.64.0.2"}),
        ({}, {DNS, NODE_DNS}, {"10.96.0.21 10.64.0.2", "192.0.2.1 10.64.9.9"}),
        ({DNS: (A,)}, {Frontend("10.96.0.99", "udp", 53)}, set()),
    ],
)
def test_flows_to_strangers(
    rules: dict[Frontend, tuple[Backend, ...]], frontends: set[Frontend] | None, stale: set[str]
) -> None:
    made = {frontend: Rule("s", backends) for frontend, backends in rules.items()}
    assert {f"{e.address} {e.backend}" for e in stale_entries(FLOWS, made, WHERE, frontends)} == stale
