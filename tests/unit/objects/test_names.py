from __future__ import annotations

import pytest

from mesh.objects import names


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (names.dns1123_label, "web-1", ""),
        (names.dns1123_label, "a" * 63, ""),
        (names.dns1123_label, "a" * 64, "must be no more than 63 bytes"),
        (names.dns1123_label, "a.b", "must not contain dots"),
        (
            names.dns1123_label,
            "Web",
            (
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
                "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ),
        ),
        (names.dns1123_subdomain, "a.b-c.d", ""),
        (
            names.dns1123_subdomain,
            "a_b",
            (
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
                "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
                r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ),
        ),
        (names.dns1123_subdomain, "a\n", "a lowercase RFC 1123 subdomain"),
        (names.dns1035_label, "1a", "a DNS-1035 label must consist of lower case alphanumeric characters or '-'"),
        (names.qualified_name, "example.com/Name_1", ""),
        (names.qualified_name, "/name", "prefix part must be non-empty"),
        (names.qualified_name, "a/", "name part must be non-empty"),
        (names.qualified_name, "A_b/c", "prefix part a lowercase RFC 1123 subdomain"),
        (names.qualified_name, "a/b/c", "a qualified name must consist of"),
        (names.label_value, "", ""),
        (names.label_value, "a b", "a valid label must be an empty string or consist of alphanumeric"),
        (names.port_name, "http", ""),
        (names.port_name, "80", "must contain at least one letter (a-z)"),
        (names.port_name, "a--b", "must not contain consecutive hyphens"),
        (names.port_name, "-a", "must not begin or end with a hyphen"),
        (names.port_name, "averyveryverylongname", "must be no more than 15 bytes"),
        (names.config_key, "key.name_1-A", ""),
        (names.config_key, "..x", "must not start with '..'"),
        (names.config_key, "a/b", "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"),
        (names.variable_name, "PATH", ""),
        (names.variable_name, "1 odd-name", ""),
        (names.variable_name, "A=B", "must consist only of printable ASCII characters other than '='"),
        (names.variable_name, "", "environment variable name must be non-empty"),
        (names.percent, "25%", ""),
        (names.percent, "25", "a valid percent string must be a numeric string followed by an ending '%'"),
        (names.finalizer, "kubernetes", ""),
        (names.finalizer, "mine", "name is neither a standard finalizer name nor is it fully qualified: mine"),
        (names.finalizer, "example.com/mine", ""),
    ],
)
def test_names(check: names.Check, value: str, message: str) -> None:
    sentences = check(value)
    if message:
        assert any(message in sentence for sentence in sentences), sentences
    else:
        assert sentences == []


def test_generated_names() -> None:
    assert names.prefix(names.dns1123_label)("web-") == []
    assert names.prefix(names.dns1123_label)("-") != []
    assert names.generate("web-", "x7k2p") == "web-x7k2p"
    assert len(names.generate("a" * 100, "x7k2p")) == 63
