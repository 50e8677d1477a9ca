"""The table: the same whatever the order of what it is told, and exact about which names exist."""

import random

import pytest

from agents.dns.records import Record
from agents.dns.table import Table
from tests.support.dnsobjects import endpoint, piece, service

WEB = "web.default.svc.cluster.local"


def _table(*services, slices=()):
    table = Table("cluster.local")
    for one in services:
        table.service_changed(None, one)
    for one in slices:
        table.slice_changed(None, one)
    return table


@pytest.mark.parametrize(
    ("name", "exists"),
    [
        (WEB, True),
        ("default.svc.cluster.local", True),
        ("svc.cluster.local", True),
        ("_tcp." + WEB, True),
        ("other.default.svc.cluster.local", False),
        ("other.svc.cluster.local", False),
        ("x." + WEB, False),
    ],
)
def test_a_name_exists_when_a_longer_one_does(name, exists):
    table = _table(service("web", clusterIP="10.96.0.7", ports=[{"name": "http", "port": 80}]))
    assert (table.lookup(name) is not None) is exists


def test_a_deleted_service_leaves_nothing():
    table, web = _table(), service("web", clusterIP="10.96.0.7", ports=[{"name": "http", "port": 80}])
    table.service_changed(None, web)
    table.service_changed(web, None)
    assert len(table) == 0
    assert table.lookup(WEB) is None
    assert table.lookup("svc.cluster.local") is None


def test_a_changed_service_keeps_only_its_new_names():
    old, new = service("web", clusterIP="10.96.0.7"), service("web", clusterIP="10.96.0.8")
    table = _table(old)
    table.service_changed(old, new)
    assert table.lookup(WEB) == {Record("A", "10.96.0.8")}
    assert table.lookup("7.0.96.10.in-addr.arpa") is None


def test_slices_before_their_service_and_slices_that_change_hands():
    moved = piece("web", endpoint("10.64.1.7"), name="s")
    table = _table(slices=[moved])
    assert table.lookup(WEB) is None
    table.service_changed(None, service("web", clusterIP="None"))
    table.service_changed(None, service("api", clusterIP="None"))
    assert table.lookup(WEB) == {Record("A", "10.64.1.7"), *_srv(table)}
    table.slice_changed(moved, piece("api", endpoint("10.64.1.7"), name="s"))
    assert table.lookup(WEB) is None
    assert table.lookup("api.default.svc.cluster.local") is not None


def test_two_services_on_one_address_share_its_reverse_name():
    one = service("a", clusterIP="None")
    slices = [piece(s, endpoint("10.64.1.7", hostname="h"), name=s) for s in "ab"]
    table = _table(one, service("b", clusterIP="None"), slices=slices)
    assert {r.data for r in table.lookup("7.1.64.10.in-addr.arpa")} == {
        f"h.{s}.default.svc.cluster.local" for s in "ab"
    }
    table.service_changed(one, None)
    assert {r.data for r in table.lookup("7.1.64.10.in-addr.arpa")} == {"h.b.default.svc.cluster.local"}


@pytest.mark.parametrize("seed", range(20))
def test_any_history_ends_in_the_same_table(seed):
    rng = random.Random(seed)
    table, services, slices = Table("cluster.local"), {}, {}
    for _ in range(60):
        name = rng.choice("abc")
        if rng.random() < 0.5:
            new = rng.choice([None, service(name, clusterIP=rng.choice(["None", "10.96.0.1", "10.96.0.2"]))])
            old = services.pop(name, None)
            if old or new:
                table.service_changed(old, new)
            services |= {name: new} if new else {}
        else:
            owner = rng.choice("abc")
            made = piece(owner, endpoint(f"10.64.0.{rng.randrange(4)}"), name=name)
            new, old = rng.choice([None, made]), slices.pop(name, None)
            if old or new:
                table.slice_changed(old, new)
            slices |= {name: new} if new else {}
    fresh = _table(*services.values(), slices=slices.values())
    assert table._names == fresh._names
    assert +table._above == +fresh._above


def _srv(table):
    return {r for r in table.lookup(WEB) if r.type == "SRV"}
