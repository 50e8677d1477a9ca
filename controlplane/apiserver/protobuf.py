"""Request bodies in Kubernetes' protobuf encoding, as kubectl's typed commands send them, to JSON values. Pure.

A body is the magic "k8s\\0" and a `runtime.Unknown` envelope with apiVersion, kind and the object. Only reading is
offered: every client that writes protobuf accepts JSON as an answer. Source:
k8s.io/apimachinery/pkg/runtime/serializer/protobuf.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

import orjson

from controlplane.apiserver.protobuf_fields import FIELDS
from mesh.errors import BadRequest
from mesh.objects.types import Json, Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEPTH = 64


class _Field(NamedTuple):
    """One field of a message: its name in JSON and its type in the notation of `protobuf_fields`."""

    name: str
    type: str


class _Malformed(Exception):
    """The bytes are no message of the expected type."""


def decode(body: bytes) -> Object:
    """The object in a protobuf body, as its JSON form would be; raises `BadRequest`."""
    if not body.startswith(_MAGIC):
        raise BadRequest("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        envelope = dict(_wire(body[len(_MAGIC) :]))
        about = {number: _text(value) for number, value in _wire(_bytes(envelope.get(1, b"")))}
        api_version, kind = about.get(1, ""), about.get(2, "")
        message = message_of(api_version, kind)
        if message is None:
            raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}" in protobuf form')
        return {"apiVersion": api_version, "kind": kind, **_message(message, _bytes(envelope.get(2, b"")), 0)}
    except (_Malformed, struct.error, IndexError, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise BadRequest(f"unable to decode the protobuf body: {error}") from error


def message_of(api_version: str, kind: str) -> str | None:
    """The message in `FIELDS` for an object of this kind, or None."""
    if kind == "DeleteOptions":
        return "meta/v1.DeleteOptions"
    group, _, version = api_version.rpartition("/")
    name = f"{group.partition('.')[0] or 'core'}/{version}.{kind}"
    return name if name in FIELDS else None


@cache
def _fields(message: str) -> dict[int, _Field]:
    fields = {}
    for text in FIELDS.get(message, "").split():
        number, name, kind = text.split(":")
        fields[int(number)] = _Field(name, kind)
    return fields


def _wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message as they lie on the wire: number and value (bytes, or an unsigned integer)."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
        elif kind == 2:
            length, position = _varint(data, position)
            if position + length > len(data):
                raise _Malformed("a field is cut off")
            yield key >> 3, data[position : position + length]
            position += length
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
            yield key >> 3, data[position : position + size]
            position += size
        else:
            raise _Malformed(f"wire type {kind} is not supported")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _Malformed("an integer is too long")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _Malformed("an integer where bytes are expected")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


def _integer(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise _Malformed("bytes where an integer is expected")
    return value - (1 << 64) if value >= 1 << 63 else value


def _message(name: str, data: bytes, depth: int) -> Object:
    """A message as a JSON object. Zero values that Go does not hold as pointers are left out, as its JSON does."""
    if depth > _DEPTH:
        raise _Malformed("nested too deeply")
    result: Object = {}
    fields = _fields(name)
    for number, value in _wire(data):
        field = fields.get(number)
        if field is None:
            continue
        kind = field.type.removeprefix("*")
        if kind.startswith("[]"):
            result.setdefault(field.name, []).append(_value(kind[2:], value, depth))
        elif kind.startswith("{}"):
            entry = dict(_wire(_bytes(value)))
            inner = _value(kind[2:], entry.get(2, _ZERO.get(kind[2:], b"")), depth)
            result.setdefault(field.name, {})[_text(entry.get(1, b""))] = inner
        elif not field.name:
            result.update(_value(kind, value, depth) or {})
        else:
            decoded = _value(kind, value, depth)
            if decoded or field.type.startswith("*"):
                result[field.name] = decoded
    return result


def _value(kind: str, value: int | bytes, depth: int) -> Json:
    reader = _READERS.get(kind)
    return reader(value) if reader else _message(kind, _bytes(value), depth + 1)


def _time(value: int | bytes) -> str | None:
    moment = _moment(value)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(value: int | bytes) -> str | None:
    moment = _moment(value)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(value: int | bytes) -> datetime | None:
    parts = dict(_wire(_bytes(value)))
    if not parts:
        return None
    seconds, nanos = _integer(parts.get(1, 0)), _integer(parts.get(2, 0))
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _quantity(value: int | bytes) -> str:
    return _text(dict(_wire(_bytes(value))).get(1, b"")) or "0"


def _int_or_string(value: int | bytes) -> int | str:
    parts = dict(_wire(_bytes(value)))
    return _text(parts.get(3, b"")) if parts.get(1) else _integer(parts.get(2, 0))


def _raw(value: int | bytes) -> Json:
    raw = _bytes(dict(_wire(_bytes(value))).get(1, b""))
    return orjson.loads(raw) if raw else None


_ZERO: dict[str, int | bytes] = {"int32": 0, "int64": 0, "bool": 0}
_READERS: dict[str, Callable[[int | bytes], Json]] = {
    "string": _text,
    "bytes": lambda value: base64.b64encode(_bytes(value)).decode(),
    "bool": lambda value: bool(_integer(value)),
    "int32": _integer,
    "int64": _integer,
    "double": lambda value: struct.unpack("<d", _bytes(value))[0],
    "float": lambda value: struct.unpack("<f", _bytes(value))[0],
    "meta/v1.Time": _time,
    "meta/v1.MicroTime": _micro_time,
    "meta/v1.Duration": lambda value: _integer(dict(_wire(_bytes(value))).get(1, 0)),
    "meta/v1.FieldsV1": _raw,
    "api/resource.Quantity": _quantity,
    "util/intstr.IntOrString": _int_or_string,
    "runtime.RawExtension": _raw,
}
