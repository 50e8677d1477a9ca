"""SPDY/3.1 framing, as much of it as port-forward needs: bytes in, frames out, and frames to bytes. Pure (sans I/O).

Source: the SPDY Protocol draft 3.1 (https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/). Flow control
is left out, as in the Go library on the other side (moby/spdystream): the connection beneath does it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mesh.errors import CoveyError

VERSION = 3
FLAG_FIN = 1
PROTOCOL_ERROR, FLOW_CONTROL_ERROR = 1, 7
MAX_FRAME = 1 << 20
"""Bytes of one frame's payload that are accepted."""

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_CONTROL = 0x80000000
_ID = 0x7FFFFFFF

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
    "allow authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug "
    "Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
_MORE_WORDS = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")

DICTIONARY = (
    b"".join(struct.pack(">I", len(word)) + word.encode() for word in (*_WORDS.split(), *_MORE_WORDS)) + _TAIL.encode()
)
"""What header blocks are compressed against (section 2.6.10.1 of the draft)."""


class SpdyError(CoveyError):
    """The peer broke the protocol: the session cannot go on."""


@dataclass(frozen=True, slots=True)
class SynStream:
    """The peer opens a stream."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class SynReply:
    """The peer has accepted a stream of ours."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream; `fin` says that they are the last in this direction."""

    stream: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """The stream has ended abnormally."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Has to be sent back as it is when the peer began it (odd numbers from a client)."""

    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer opens no more streams."""


Frame = SynStream | SynReply | Data | Reset | Ping | GoAway


class Decoder:
    """Turns the bytes of one direction into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._headers = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes; raises `SpdyError`."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            length = second & 0xFFFFFF
            if length > MAX_FRAME:
                raise SpdyError(f"a SPDY frame of {length} bytes is over the limit of {MAX_FRAME}")
            if len(self._buffer) < 8 + length:
                return
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            frame = self._frame(first, second >> 24, payload)
            if frame is not None:
                yield frame

    def _frame(self, first: int, flags: int, payload: bytes) -> Frame | None:
        if not first & _CONTROL:
            return Data(first & _ID, payload, bool(flags & FLAG_FIN))
        version, kind = (first >> 16) & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise SpdyError(f"SPDY version {version} is not supported, only {VERSION}")
        try:
            return self._control(kind, flags, payload)
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise SpdyError(f"malformed SPDY frame of type {kind}: {error}") from error

    def _control(self, kind: int, flags: int, payload: bytes) -> Frame | None:
        if kind == _SYN_STREAM:
            (stream,) = struct.unpack_from(">I", payload)
            return SynStream(stream & _ID, self._read_headers(payload[10:]), bool(flags & FLAG_FIN))
        if kind == _SYN_REPLY:
            (stream,) = struct.unpack_from(">I", payload)
            return SynReply(stream & _ID, self._read_headers(payload[4:]))
        if kind == _HEADERS:
            self._read_headers(payload[4:])  # keeps the compression's state in step
            return None
        if kind == _RST_STREAM:
            stream, status = struct.unpack(">II", payload)
            return Reset(stream & _ID, status)
        if kind == _PING:
            return Ping(*struct.unpack(">I", payload))
        if kind == _GOAWAY:
            return GoAway()
        if kind in {_SETTINGS, _WINDOW_UPDATE}:
            return None
        raise SpdyError(f"unknown SPDY frame type {kind}")

    def _read_headers(self, compressed: bytes) -> dict[str, str]:
        block = self._headers.decompress(compressed, MAX_FRAME)
        (count,) = struct.unpack_from(">I", block)
        position = 4
        headers = {}
        for _ in range(count):
            name, position = _text(block, position)
            value, position = _text(block, position)
            headers[name.lower()] = value
        return headers


def _text(block: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", block, position)
    start = position + 4
    if start + length > len(block):
        raise SpdyError("a SPDY header block is cut off")
    return block[start : start + length].decode(), start + length


class Encoder:
    """Turns frames into the bytes of the other direction."""

    def __init__(self) -> None:
        self._headers = zlib.compressobj(zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """The frame's bytes. Frames with headers have to be sent in the order in which they were encoded."""
        match frame:
            case Data(stream, data, fin):
                return struct.pack(">II", stream, (FLAG_FIN if fin else 0) << 24 | len(data)) + data
            case SynStream(stream, headers, fin):
                body = struct.pack(">IIBB", stream, 0, 0, 0) + self._write_headers(headers)
                return _control_frame(_SYN_STREAM, body, FLAG_FIN if fin else 0)
            case SynReply(stream, headers):
                return _control_frame(_SYN_REPLY, struct.pack(">I", stream) + self._write_headers(headers))
            case Reset(stream, status):
                return _control_frame(_RST_STREAM, struct.pack(">II", stream, status))
            case Ping(identifier):
                return _control_frame(_PING, struct.pack(">I", identifier))
            case GoAway():
                return _control_frame(_GOAWAY, struct.pack(">II", 0, 0))

    def _write_headers(self, headers: Mapping[str, str]) -> bytes:
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                block += struct.pack(">I", len(text)) + text
        return self._headers.compress(block) + self._headers.flush(zlib.Z_SYNC_FLUSH)


def _control_frame(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", _CONTROL | VERSION << 16 | kind, flags << 24 | len(body)) + body
