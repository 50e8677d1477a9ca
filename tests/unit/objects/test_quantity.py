from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.objects import quantity
from mesh.objects.quantity import Quantity, QuantityError, parse

NUMBER = "unable to parse numeric part of quantity"
SUFFIX = "unable to parse quantity's suffix"
FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("100000", "100k"),
        ("100M", "100M"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1500Mi", "1500Mi"),
        ("0.5Ki", "512"),
        ("512", "512"),
        ("1Ki", "1Ki"),
        ("12e6", "12e6"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1E", "1E"),
        ("+1", "1"),
        ("-1500m", "-1500m"),
        ("0.1n", "1n"),
        ("1.1Mi", "1153433600m"),
        ("10000Pi", "9223372036854775807"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    ("text", "milli", "whole"),
    [
        ("250m", 250, 1),
        ("1", 1000, 1),
        ("1500m", 1500, 2),
        ("100u", 1, 1),
        ("-1500m", -1500, -2),
        ("1Ki", 1024000, 1024),
    ],
)
def test_rounding_is_away_from_zero(text: str, milli: int, whole: int) -> None:
    assert quantity.to_milli(text) == milli
    assert quantity.to_int(text) == whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", FORMAT),
        ("abc", FORMAT),
        ("1KiB", FORMAT),
        ("1 Gi", FORMAT),
        ("1.2.3", NUMBER),
        ("-", NUMBER),
        (".", NUMBER),
        ("1mm", SUFFIX),
        ("1e", SUFFIX),
        ("1e999999999", SUFFIX),
    ],
)
def test_errors_are_those_of_kubernetes(text: str, message: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse(text)
    assert str(caught.value) == message


def test_arithmetic_keeps_the_format_of_what_is_added_to() -> None:
    assert str(parse("1Gi") + parse("512Mi")) == "1536Mi"
    assert str(parse("0") + parse("1Gi")) == "1Gi"
    assert str(parse("2") - parse("500m")) == "1500m"
    assert parse("1000m") == parse("1")
    assert parse("999m") < parse("1") <= parse("1000m")
    assert str(quantity.of_bytes(2**30)) == "1Gi"
    assert str(quantity.of_milli(250)) == "250m"


AMOUNTS = st.builds(
    Quantity,
    st.integers(min_value=-(2**63), max_value=2**63).map(lambda n: n * 1000),
    st.sampled_from([quantity.DECIMAL_SI, quantity.BINARY_SI, quantity.DECIMAL_EXPONENT]),
)


@given(AMOUNTS)
def test_what_is_printed_reads_back_as_the_same_amount(amount: Quantity) -> None:
    assert parse(str(amount)) == amount
    assert quantity.canonical(str(amount)) == str(parse(str(amount)))
