"""The wire format of DNS (RFC 1035, RFC 6891): reading questions, writing answers, and ageing answers of others.

Our own answers are written by dnslib. Answers of other servers are passed on byte for byte, only their id and TTLs are
changed, so that nothing that we do not understand is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from dnslib import AAAA, CNAME, EDNS0, NS, PTR, QTYPE, RCODE, RR, SOA, SRV, TXT, A, DNSError, DNSQuestion, DNSRecord
from dnslib.label import DNSLabel

from agents.dns.answers import TTL_SECONDS, Answer
from agents.dns.records import Record, Srv
from mesh.objects.types import Json

CLASSIC_UDP_BYTES = 512
MOST_UDP_BYTES = 1232
"""What fits into one packet on any path (DNS flag day 2020)."""
FORMAT_ERROR, SERVER_FAILURE, NOT_IMPLEMENTED, REFUSED = RCODE.FORMERR, RCODE.SERVFAIL, RCODE.NOTIMP, RCODE.REFUSED
_HEADER = struct.Struct("!HHHHHH")
_CLASS_IN = 1
_TYPE_SOA, _TYPE_OPT = 6, 41
_TRUNCATED = 0x0200
_SERIAL = 1


@dataclass(frozen=True, slots=True)
class Question:
    """A query with one question. `name` is lower case without the final dot; `udp_bytes` is what the asker can take in
    one datagram; `message` is dnslib's own record."""

    name: str
    kind: str
    udp_bytes: int
    message: Json


class Unanswerable(Exception):
    """A packet that is no question we answer; `reply` is what to send back, b"" for silence."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("unanswerable")
        self.reply = reply


def parse(packet: bytes) -> Question:
    """The question in a packet. Raises `Unanswerable` for answers, malformed packets and what is not a query for one
    name of class IN."""
    if len(packet) < _HEADER.size or packet[2] & 0x80:
        raise Unanswerable(b"")
    try:
        message = DNSRecord.parse(packet)
    except (DNSError, ValueError, IndexError, struct.error) as error:
        raise Unanswerable(_bare(packet, FORMAT_ERROR)) from error
    if message.header.opcode != 0:
        raise Unanswerable(_bare(packet, NOT_IMPLEMENTED))
    if len(message.questions) != 1:
        raise Unanswerable(_bare(packet, FORMAT_ERROR))
    if message.q.qclass != _CLASS_IN:
        raise Unanswerable(_bare(packet, REFUSED))
    sizes = [record.edns_len for record in message.ar if record.rtype == _TYPE_OPT]
    size = min(max(CLASSIC_UDP_BYTES, sizes[0]), MOST_UDP_BYTES) if sizes else CLASSIC_UDP_BYTES
    kind = QTYPE.forward.get(message.q.qtype, f"TYPE{message.q.qtype}")
    return Question(str(message.q.qname).rstrip(".").lower(), kind, size, message)


def query_like(question: Question, name: str) -> bytes:
    """A query of our own for another name, of the same type. Its id is replaced by whoever sends it."""
    return bytes(DNSRecord(q=DNSQuestion(name, question.message.q.qtype)).pack())


def answered(packet: bytes) -> tuple[int, list[Json]]:
    """Response code and answer section of a packet; SERVFAIL and nothing when it cannot be read."""
    try:
        message = DNSRecord.parse(packet)
    except (DNSError, ValueError, IndexError, struct.error):
        return SERVER_FAILURE, []
    return message.header.rcode, list(message.rr)


def failure(question: Question, code: int) -> bytes:
    """An answer that holds nothing but a response code."""
    return bytes(_reply(question, code, ours=False).pack())


def pack_followed(question: Question, answer: Answer, packet: bytes) -> Json:
    """Our CNAME, with what another server (in `packet`) said about the name it leads to."""
    code, records = answered(packet)
    message = _reply(question, code, ours=True)
    for record in (*(_rr(name, own) for name, own in answer.answers), *records):
        message.add_answer(record)
    return message


def pack(question: Question, answer: Answer, *, shift: int = 0) -> Json:
    """Our answer as dnslib's record. `shift` turns the records of one name round, so that clients that take the first
    one spread over all."""
    message = _reply(question, answer.outcome.value, ours=True)
    for name, record in _turned(answer.answers, shift):
        message.add_answer(_rr(name, record))
    for name, record in answer.additional:
        message.add_ar(_rr(name, record))
    if answer.zone:
        asked = question.kind == "SOA" and question.name == answer.zone
        (message.add_answer if asked else message.add_auth)(_soa(answer.zone))
    return message


def fit(message: Json, limit: int) -> bytes:
    """The packet, or, when it is larger than `limit` bytes, one without records that is marked as truncated: the
    asker comes back over TCP."""
    packet = bytes(message.pack())
    if len(packet) <= limit:
        return packet
    message.header.tc = 1
    short = DNSRecord(message.header, questions=message.questions)
    short.add_ar(*(record for record in message.ar if record.rtype == _TYPE_OPT))
    return bytes(short.pack())


def is_failure(packet: bytes) -> bool:
    """Whether the sender says that it could not find out (SERVFAIL, REFUSED, ...)."""
    return (_HEADER.unpack_from(packet)[1] & 0xF) not in {RCODE.NOERROR, RCODE.NXDOMAIN}


def with_id(packet: bytes, number: int) -> bytes:
    """The packet under another id."""
    return number.to_bytes(2, "big") + packet[2:]


def cache_key(query: bytes) -> bytes:
    """Equal for queries that deserve one answer: everything but the id, the name in lower case."""
    end = _skip_name(query, _HEADER.size)
    return query[2 : _HEADER.size] + query[_HEADER.size : end].lower() + query[end:]


def answers_to(query: bytes, packet: bytes) -> bool:
    """Whether a packet that came back is an answer to this very question (id, name, type, class)."""
    if len(packet) < _HEADER.size or not packet[2] & 0x80 or packet[:2] != query[:2]:
        return False
    try:
        asked, echoed = _question_end(query), _question_end(packet)
    except IndexError:
        return False
    return query[_HEADER.size : asked].lower() == packet[_HEADER.size : echoed].lower()


def lifetime(packet: bytes, most: float) -> tuple[float, tuple[int, ...]]:
    """For how many seconds an answer may be kept, and where its TTLs stand. 0 for what must not be kept.

    That is the smallest TTL; an answer without records lives as long as its SOA says (RFC 2308), without SOA not at all.
    """
    try:
        return _lifetime(packet, most)
    except (IndexError, struct.error):  # counts that its own contents do not bear out
        return 0.0, ()


def _lifetime(packet: bytes, most: float) -> tuple[float, tuple[int, ...]]:
    _, flags, _, answers, authorities, additionals = _HEADER.unpack_from(packet)
    code = flags & 0xF
    if flags & _TRUNCATED or code not in {RCODE.NOERROR, RCODE.NXDOMAIN}:
        return 0.0, ()
    offset, places, ttls, negative = _question_end(packet), [], [], None
    for number in range(answers + authorities + additionals):
        offset = _skip_name(packet, offset)
        kind, _, ttl, length = struct.unpack_from("!HHIH", packet, offset)
        if kind != _TYPE_OPT:
            places.append(offset + 4)
            ttls.append(ttl)
        if kind == _TYPE_SOA and number >= answers:
            negative = min(ttl, struct.unpack_from("!I", packet, offset + 10 + length - 4)[0])
        offset += 10 + length
    if answers == 0:
        return min(negative or 0, most), tuple(places)
    return min([most, *ttls]), tuple(places)


def aged(packet: bytes, query: bytes, places: Sequence[int], seconds: int) -> bytes:
    """A kept answer for a new query: with its id, its spelling of the name, and TTLs that are `seconds` lower."""
    fresh = bytearray(packet)
    end = _question_end(query)
    fresh[:2] = query[:2]
    fresh[_HEADER.size : end] = query[_HEADER.size : end]
    for place in places:
        ttl = struct.unpack_from("!I", fresh, place)[0]
        struct.pack_into("!I", fresh, place, max(0, ttl - seconds))
    return bytes(fresh)


def _reply(question: Question, code: int, *, ours: bool) -> Json:
    message = question.message.reply(ra=1, aa=1 if ours else 0)
    message.header.rcode = code
    if any(record.rtype == _TYPE_OPT for record in question.message.ar):
        message.add_ar(EDNS0(udp_len=MOST_UDP_BYTES))
    return message


def _bare(packet: bytes, code: int) -> bytes:
    """A header that says no more than the code: for packets whose question cannot be repeated."""
    number, flags = struct.unpack_from("!HH", packet)
    return _HEADER.pack(number, 0x8080 | (flags & 0x7900) | code, 0, 0, 0, 0)


def _turned(records: Sequence[tuple[str, Record]], shift: int) -> list[tuple[str, Record]]:
    chain = [pair for pair in records if pair[1].type == "CNAME"]
    rest = [pair for pair in records if pair[1].type != "CNAME"]
    at = shift % len(rest) if rest else 0
    return chain + rest[at:] + rest[:at]


def _rr(name: str, record: Record) -> Json:
    data = record.data
    if isinstance(data, Srv):
        rdata = SRV(data.priority, data.weight, data.port, DNSLabel(data.target))
    else:
        rdata = _RDATA[record.type](data)
    return RR(DNSLabel(name), getattr(QTYPE, record.type), rdata=rdata, ttl=TTL_SECONDS)


_RDATA: dict[str, Json] = {"A": A, "AAAA": AAAA, "CNAME": CNAME, "PTR": PTR, "TXT": TXT, "NS": NS}


def _soa(zone: str) -> Json:
    times = (_SERIAL, 7200, 1800, 86400, TTL_SECONDS)
    return RR(DNSLabel(zone), QTYPE.SOA, rdata=SOA(f"ns.dns.{zone}", f"hostmaster.{zone}", times), ttl=TTL_SECONDS)


def _question_end(packet: bytes) -> int:
    return _skip_name(packet, _HEADER.size) + 4


def _skip_name(packet: bytes, offset: int) -> int:
    while (length := packet[offset]) != 0:
        if length & 0xC0:
            return offset + 2
        offset += 1 + length
    return offset + 1
