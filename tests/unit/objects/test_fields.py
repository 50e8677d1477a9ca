from __future__ import annotations

import pytest

from mesh.errors import BadRequest
from mesh.objects import fields

VALUES = {"metadata.name": "x", "spec.nodeName": "", "note": "a,b=c"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("metadata.name=x", True),
        ("metadata.name==x", True),
        ("metadata.name!=x", False),
        ("spec.nodeName=", True),
        ("spec.nodeName!=n1,metadata.name=x", True),
        (r"note=a\,b\=c", True),
        ("unknown=", True),
    ],
)
def test_matching(text: str, matches: bool) -> None:
    assert fields.parse(text).matches(VALUES) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("a=b=c", "invalid field selector: unescaped character in value: ="),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
    ],
)
def test_parse_errors(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        fields.parse(text)
    assert str(caught.value) == message


def test_printing_escapes_what_it_must() -> None:
    assert str(fields.parse(r"note=a\,b\=c")) == r"note=a\,b\=c"


def test_the_value_that_a_field_must_have() -> None:
    selector = fields.parse("spec.nodeName=n1,status.phase!=Failed")
    assert selector.required("spec.nodeName") == "n1"
    assert selector.required("status.phase") is None
