"""Masquerading and acceptance, as text and rules."""

from agents.network.outside import accepting_rules, mark_of, masquerade_tables


def test_pods_are_masqueraded_only_on_their_way_out():
    tables = masquerade_tables(["10.64.0.0/16", "fd00:64::/48"])
    assert set(tables) == {"ip", "ip6"}
    assert "ip saddr { 10.64.0.0/16 } ip daddr != { 10.64.0.0/16, 224.0.0.0/4 } masquerade fully-random" in tables["ip"]
    assert "ip6 saddr { fd00:64::/48 } ip6 daddr != { fd00:64::/48, ff00::/8 }" in tables["ip6"]
    assert all(mark_of(["10.64.0.0/16", "fd00:64::/48"]) in table for table in tables.values())


def test_other_ranges_are_another_mark():
    assert mark_of(["10.64.0.0/16"]) != mark_of(["10.65.0.0/16"])


def test_what_is_let_through_beside_other_peoples_rules():
    rules = accepting_rules("c", ["10.64.0.0/16"], dns_address="10.96.0.10", vxlan_port=8472)
    assert [" ".join((r.chain, *r.match)) for r in rules] == [
        "FORWARD -s 10.64.0.0/16",
        "FORWARD -d 10.64.0.0/16",
        "INPUT -d 10.96.0.10/32 -p udp -m udp --dport 53",
        "INPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 53",
        "INPUT -p udp -m udp --dport 8472",
    ]
    assert {r.comment for r in rules} == {"covey-agent:c"}
