"""What a Service is called."""

import pytest

from agents.dns.records import Srv, address_of, dashed, records_of, reverse_name, undashed
from tests.support.dnsobjects import HTTP, endpoint, piece, service

DOMAIN = "cluster.local"
WEB = "web.default.svc.cluster.local"


def _names(svc, *slices):
    """Records as text: {name: {"A 10.96.0.1", ...}}."""

    def text(record):
        d = record.data
        return f"{record.type} {f'{d.weight} {d.port} {d.target}' if isinstance(d, Srv) else d}"

    return {name: {text(r) for r in found} for name, found in records_of(svc, slices, DOMAIN).items()}


def test_cluster_ip():
    assert _names(service("web", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"], ports=[HTTP, {"port": 9}])) == {
        WEB: {"A 10.96.0.7", f"SRV 100 80 {WEB}", f"SRV 100 9 {WEB}"},
        f"_http._tcp.{WEB}": {f"SRV 100 80 {WEB}"},
        "7.0.96.10.in-addr.arpa": {f"PTR {WEB}"},
    }


def test_both_families():
    names = _names(service("web", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7", "fd00::7"]))
    assert names[WEB] == {"A 10.96.0.7", "AAAA fd00::7"}
    assert names[reverse_name("fd00::7")] == {f"PTR {WEB}"}


def test_udp_ports_and_names_that_need_lower_case():
    names = _names(service("web", clusterIP="10.96.0.7", ports=[{"name": "dns", "protocol": "UDP", "port": 53}]))
    assert f"_dns._udp.{WEB}" in names


def test_headless_with_and_without_hostnames():
    slices = [piece("web", endpoint("10.64.1.7", hostname="db-0"), endpoint("10.64.2.9", ready=None))]
    assert _names(service("web", clusterIP="None", ports=[HTTP]), *slices) == {
        WEB: {"A 10.64.1.7", "A 10.64.2.9", f"SRV 50 80 db-0.{WEB}", f"SRV 50 80 10-64-2-9.{WEB}"},
        f"db-0.{WEB}": {"A 10.64.1.7"},
        f"10-64-2-9.{WEB}": {"A 10.64.2.9"},
        f"_http._tcp.{WEB}": {f"SRV 50 80 db-0.{WEB}", f"SRV 50 80 10-64-2-9.{WEB}"},
        "7.1.64.10.in-addr.arpa": {f"PTR db-0.{WEB}"},
        "9.2.64.10.in-addr.arpa": {f"PTR 10-64-2-9.{WEB}"},
    }


@pytest.mark.parametrize(("publish", "addresses"), [(False, {"A 10.64.1.7"}), (True, {"A 10.64.1.7", "A 10.64.1.8"})])
def test_only_ready_endpoints_unless_the_service_wants_all(publish, addresses):
    slices = [piece("web", endpoint("10.64.1.7"), endpoint("10.64.1.8", ready=False), ports=())]
    assert _names(service("web", clusterIP="None", publishNotReadyAddresses=publish), *slices)[WEB] == addresses


def test_headless_without_endpoints_or_with_fully_qualified_names_has_no_records():
    assert _names(service("web", clusterIP="None")) == {}
    assert _names(service("web", clusterIP="None"), piece("web", endpoint("example.org"), kind="FQDN")) == {}


def test_external_name():
    assert _names(service("web", type="ExternalName", externalName="Example.ORG.")) == {WEB: {"CNAME example.org"}}
    assert _names(service("web", type="ExternalName")) == {}


def test_a_service_without_address_yet():
    assert _names(service("web", ports=[HTTP])) == {}


@pytest.mark.parametrize("address", ["10.64.1.7", "fd00::7", "::1", "fd00:1:2:3:4:5:6:7"])
def test_reverse_names_and_labels_lead_back(address):
    assert address_of(reverse_name(address)) == address
    assert undashed(dashed(address)) == address


@pytest.mark.parametrize("name", ["in-addr.arpa", "10.in-addr.arpa", "x.0.96.10.in-addr.arpa", "1.ip6.arpa", "a.b"])
def test_names_that_are_no_address(name):
    assert address_of(name) == ""


@pytest.mark.parametrize("label", ["web", "1-2-3", "256-1-1-1", ""])
def test_labels_that_are_no_address(label):
    assert undashed(label) == ""
