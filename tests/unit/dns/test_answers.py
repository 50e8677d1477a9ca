"""What is answered to which question."""

import pytest

from agents.dns.answers import Cluster, Outcome, answer
from agents.dns.table import Table
from tests.support.dnsobjects import HTTP, endpoint, piece, service

CLUSTER = Cluster("cluster.local", "10.96.0.10", ("10.64.0.0/16",), ("10.96.0.0/16",))
SVC = "default.svc.cluster.local"
FOUND, NAME_ERROR, NOT_OURS, UNKNOWN = Outcome.FOUND, Outcome.NAME_ERROR, Outcome.NOT_OURS, Outcome.UNKNOWN_YET


@pytest.fixture(scope="module")
def table():
    made = Table("cluster.local")
    made.service_changed(None, service("web", clusterIP="10.96.0.7", ports=[HTTP]))
    made.service_changed(None, service("db", clusterIP="None", ports=[HTTP]))
    made.slice_changed(None, piece("db", endpoint("10.64.1.7", hostname="db-0")))
    made.service_changed(None, service("out", type="ExternalName", externalName="example.org"))
    made.service_changed(None, service("alias", type="ExternalName", externalName=f"web.{SVC}"))
    made.service_changed(None, service("loop", type="ExternalName", externalName=f"loop.{SVC}"))
    return made


@pytest.mark.parametrize(
    ("name", "kind", "outcome", "data"),
    [
        (f"web.{SVC}", "A", FOUND, ["10.96.0.7"]),
        (f"web.{SVC}", "AAAA", FOUND, []),
        (f"db-0.db.{SVC}", "A", FOUND, ["10.64.1.7"]),
        (f"nobody.{SVC}", "A", NAME_ERROR, []),
        (f"db-1.db.{SVC}", "A", NAME_ERROR, []),
        (f"example.com.{SVC}", "A", NAME_ERROR, []),  # the search list at work: no one else is asked
        (SVC, "A", FOUND, []),
        ("svc.cluster.local", "A", FOUND, []),
        ("cluster.local", "NS", FOUND, ["ns.dns.cluster.local"]),
        ("ns.dns.cluster.local", "A", FOUND, ["10.96.0.10"]),
        ("dns-version.cluster.local", "TXT", FOUND, ["1.1.0"]),
        ("10-64-3-4.default.pod.cluster.local", "A", FOUND, ["10.64.3.4"]),
        ("10-64-3-4.default.pod.cluster.local", "AAAA", FOUND, []),
        ("192-0-2-1.default.pod.cluster.local", "A", NAME_ERROR, []),
        ("web.default.pod.cluster.local", "A", NAME_ERROR, []),
        ("x.10-64-3-4.default.pod.cluster.local", "A", NAME_ERROR, []),
        ("default.pod.cluster.local", "A", FOUND, []),
        ("7.0.96.10.in-addr.arpa", "PTR", FOUND, [f"web.{SVC}"]),
        ("7.1.64.10.in-addr.arpa", "PTR", FOUND, [f"db-0.db.{SVC}"]),
        ("9.9.64.10.in-addr.arpa", "PTR", NAME_ERROR, []),
        ("1.2.0.192.in-addr.arpa", "PTR", NOT_OURS, []),
        ("example.org", "A", NOT_OURS, []),
        ("notcluster.local", "A", NOT_OURS, []),
        (f"alias.{SVC}", "A", FOUND, [f"web.{SVC}", "10.96.0.7"]),
        (f"alias.{SVC}", "CNAME", FOUND, [f"web.{SVC}"]),
        (f"loop.{SVC}", "A", UNKNOWN, []),
    ],
)
def test_answers(table, name, kind, outcome, data):
    found = answer(CLUSTER, table, name, kind, complete=True)
    assert (found.outcome, [record.data for _, record in found.answers]) == (outcome, data)
    assert bool(found.zone) is (outcome in {NAME_ERROR, UNKNOWN} or (outcome is FOUND and not data))


def test_srv_brings_the_addresses_of_its_targets(table):
    found = answer(CLUSTER, table, f"_http._tcp.db.{SVC}", "SRV", complete=True)
    assert [(r.data.port, r.data.target) for _, r in found.answers] == [(80, f"db-0.db.{SVC}")]
    assert [(name, r.data) for name, r in found.additional] == [(f"db-0.db.{SVC}", "10.64.1.7")]


def test_an_external_name_is_followed_outside(table):
    found = answer(CLUSTER, table, f"out.{SVC}", "A", complete=True)
    assert ([r.data for _, r in found.answers], found.follow) == (["example.org"], "example.org")


def test_before_all_services_are_known_no_name_is_denied(table):
    assert answer(CLUSTER, table, f"nobody.{SVC}", "A", complete=False).outcome is UNKNOWN
    assert answer(CLUSTER, table, "9.9.64.10.in-addr.arpa", "PTR", complete=False).outcome is UNKNOWN
    assert answer(CLUSTER, table, f"web.{SVC}", "A", complete=False).outcome is FOUND
