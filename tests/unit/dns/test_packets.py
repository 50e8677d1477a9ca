"""The wire format: what is refused, what is cut, what is kept and for how long."""

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, SOA, A, DNSHeader, DNSQuestion, DNSRecord

from agents.dns import packets
from agents.dns.answers import Answer, Outcome
from agents.dns.cache import Cache
from agents.dns.packets import Unanswerable
from agents.dns.records import Record


def _query(name="Web.Default.svc.cluster.local", kind="A", *, number=77, edns=0, **header):
    message = DNSRecord(DNSHeader(id=number, rd=1, **header), q=DNSQuestion(name, getattr(QTYPE, kind)))
    if edns:
        message.add_ar(EDNS0(udp_len=edns))
    return bytes(message.pack())


def _response(query, *records, authority=(), rcode=0):
    message = DNSRecord.parse(query).reply()
    message.header.rcode = rcode
    for record in records:
        message.add_answer(record)
    for record in authority:
        message.add_auth(record)
    return bytes(message.pack())


def _a(ttl, address="192.0.2.1"):
    return RR("example.org", QTYPE.A, rdata=A(address), ttl=ttl)


def _soa(ttl, minimum):
    return RR("org", QTYPE.SOA, rdata=SOA("ns.org", "root.org", (1, 2, 3, 4, minimum)), ttl=ttl)


@pytest.mark.parametrize(("edns", "most"), [(0, 512), (100, 512), (4096, 1232), (1000, 1000)])
def test_a_question(edns, most):
    question = packets.parse(_query(edns=edns))
    assert (question.name, question.kind, question.udp_bytes) == ("web.default.svc.cluster.local", "A", most)


def test_an_answer_repeats_the_question_as_it_was_spelt():
    question = packets.parse(_query(edns=1232))
    reply = DNSRecord.parse(
        packets.fit(packets.pack(question, Answer(Outcome.FOUND, ((question.name, Record("A", "10.96.0.7")),))), 512)
    )
    assert (reply.header.id, reply.header.aa, reply.header.ra, reply.header.rd) == (77, 1, 1, 1)
    assert str(reply.q.qname) == "Web.Default.svc.cluster.local."
    assert [(str(r.rdata), r.ttl) for r in reply.rr] == [("10.96.0.7", 5)]
    assert [r.rtype for r in reply.ar] == [QTYPE.OPT]


def test_a_name_error_brings_the_soa():
    question = packets.parse(_query())
    reply = packets.pack(question, Answer(Outcome.NAME_ERROR, zone="cluster.local"))
    assert reply.header.rcode == RCODE.NXDOMAIN
    assert [(str(r.rname), r.rtype, r.ttl, r.rdata.times[-1]) for r in reply.auth] == [("cluster.local.", 6, 5, 5)]


def test_the_soa_itself_can_be_asked_for():
    reply = packets.pack(packets.parse(_query("cluster.local", "SOA")), Answer(Outcome.FOUND, zone="cluster.local"))
    assert ([r.rtype for r in reply.rr], reply.auth) == ([6], [])


def test_what_does_not_fit_is_cut_and_marked():
    question = packets.parse(_query(edns=512))
    many = tuple((question.name, Record("A", f"10.64.0.{i}")) for i in range(200))
    message = packets.pack(question, Answer(Outcome.FOUND, many))
    short = DNSRecord.parse(packets.fit(message, 512))
    assert (short.header.tc, len(short.rr), len(short.ar)) == (1, 0, 1)
    assert len(DNSRecord.parse(packets.fit(message, 65535)).rr) == 200


def test_equal_records_take_turns():
    question = packets.parse(_query())
    three = Answer(Outcome.FOUND, tuple((question.name, Record("A", f"10.64.0.{i}")) for i in range(3)))
    firsts = [str(packets.pack(question, three, shift=i).rr[0].rdata) for i in range(4)]
    assert firsts == ["10.64.0.0", "10.64.0.1", "10.64.0.2", "10.64.0.0"]


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (b"", None),
        (b"short", None),
        (_response(_query()), None),  # an answer, not a question
        (_query()[:20], RCODE.FORMERR),
        (_query(opcode=4), RCODE.NOTIMP),
        (DNSRecord(DNSHeader(id=1)).pack(), RCODE.FORMERR),
        (DNSRecord(DNSHeader(id=1), q=DNSQuestion("version.bind", QTYPE.TXT, 3)).pack(), RCODE.REFUSED),
    ],
)
def test_what_is_no_question_of_ours(packet, rcode):
    with pytest.raises(Unanswerable) as refused:
        packets.parse(packet)
    reply = refused.value.reply
    assert (DNSRecord.parse(reply).header.rcode if reply else None) == rcode
    assert reply[:2] == packet[:2] if reply else True


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        (_response(_query(), _a(20), _a(7)), 7),
        (_response(_query(), _a(3600)), 30),
        (_response(_query(), _a(0)), 0),
        (_response(_query(), authority=[_soa(900, 12)], rcode=3), 12),
        (_response(_query(), authority=[_soa(3, 900)]), 3),
        (_response(_query(), rcode=3), 0),
        (_response(_query(), _a(20), rcode=2), 0),
        (_response(_query(), _a(20))[:-5], 0),
    ],
)
def test_how_long_an_answer_may_be_kept(response, seconds):
    assert packets.lifetime(response, 30.0)[0] == seconds


def test_a_kept_answer_ages_and_serves_other_spellings():
    cache, first = Cache(), _query("Example.org", number=1)
    cache.put(first, _response(first, _a(20)), now=100.0)
    kept = DNSRecord.parse(cache.get(_query("eXample.org", number=2), now=107.9))
    assert (kept.header.id, str(kept.q.qname), kept.rr[0].ttl) == (2, "eXample.org.", 13)
    assert cache.get(_query("example.org", "AAAA"), now=101.0) is None
    assert cache.get(_query("example.org", edns=4096), now=101.0) is None  # may take more: its own answer
    assert cache.get(first, now=120.0) is None


def test_the_cache_forgets_what_was_not_asked_for_longest():
    cache, queries = Cache(entries=2), [_query(f"{c}.org") for c in "abc"]
    for query in queries[:2]:
        cache.put(query, _response(query, _a(20)), now=0.0)
    assert cache.get(queries[0], now=1.0)
    cache.put(queries[2], _response(queries[2], _a(20)), now=1.0)
    assert [cache.get(q, now=2.0) is not None for q in queries] == [True, False, True]


def test_only_an_answer_to_the_very_question_counts():
    query = _query("example.org")
    assert packets.answers_to(query, _response(_query("EXAMPLE.org")))
    assert not packets.answers_to(query, _response(_query("example.net")))
    assert not packets.answers_to(query, _response(_query("example.org", number=78)))
    assert not packets.answers_to(query, query)
    assert not packets.answers_to(query, b"\0\x4d\x80\0")
