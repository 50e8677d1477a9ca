"""Which strings may name things: DNS labels and subdomains, label keys and values, port, key and variable names.

A check returns the sentences about what is wrong, in Kubernetes' words; an empty list means the name is fine.
Source: k8s.io/apimachinery/pkg/util/validation and pkg/api/validate/content.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Check: TypeAlias = Callable[[str], list[str]]

LABEL_FORMAT = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN_FORMAT = rf"{LABEL_FORMAT}(\.{LABEL_FORMAT})*"
DNS1035_FORMAT = "[a-z]([-a-z0-9]*[a-z0-9])?"
QUALIFIED_FORMAT = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_VALUE_FORMAT = f"({QUALIFIED_FORMAT})?"
CONFIG_KEY_FORMAT = "[-._a-zA-Z0-9]+"
HTTP_HEADER_FORMAT = "[-A-Za-z0-9]+"
PERCENT_FORMAT = "[0-9]+%"

MAX_GENERATED_BASE = 58
"""How much of `generateName` is kept, so that five random characters still fit into a DNS label."""

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""What random suffixes are made of: no vowels and no look-alikes, so that no words appear by chance."""

_label = re.compile(LABEL_FORMAT)
_subdomain = re.compile(SUBDOMAIN_FORMAT)
_dns1035 = re.compile(DNS1035_FORMAT)
_qualified = re.compile(QUALIFIED_FORMAT)
_label_value = re.compile(LABEL_VALUE_FORMAT)
_config_key = re.compile(CONFIG_KEY_FORMAT)
_http_header = re.compile(HTTP_HEADER_FORMAT)
_percent = re.compile(PERCENT_FORMAT)
_port_characters = re.compile("[-a-z0-9]+")
_letter = re.compile("[a-z]")
_relaxed_variable = re.compile(r"[ -<>-~]+")


def too_long(limit: int) -> str:
    """The sentence about a string of more than `limit` bytes."""
    return f"must be no more than {limit} bytes"


def between(low: int, high: int) -> str:
    """The sentence about a number outside `low`..`high`."""
    return f"must be between {low} and {high}, inclusive"


def regex_error(message: str, pattern: str, *examples: str) -> str:
    """`message` with examples and the regular expression that was not matched."""
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    quoted = ",  or ".join(f"'{example}'" for example in examples)
    return f"{message} (e.g. {quoted}, regex used for validation is '{pattern}')"


def _bytes(value: str) -> int:
    return len(value.encode())


def dns1123_label(value: str) -> list[str]:
    """A lowercase DNS label of up to 63 characters (RFC 1123): namespaces, containers, volumes."""
    errors = [too_long(63)] if _bytes(value) > 63 else []
    if not _label.fullmatch(value):
        if _subdomain.fullmatch(value):
            errors.append("must not contain dots")
        else:
            errors.append(
                regex_error(
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
                    "start and end with an alphanumeric character",
                    LABEL_FORMAT,
                    "my-name",
                    "123-abc",
                )
            )
    return errors


def dns1123_subdomain(value: str) -> list[str]:
    """A lowercase DNS subdomain of up to 253 characters (RFC 1123): the names of most objects."""
    errors = [too_long(253)] if _bytes(value) > 253 else []
    if not _subdomain.fullmatch(value):
        errors.append(
            regex_error(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
                "must start and end with an alphanumeric character",
                SUBDOMAIN_FORMAT,
                "example.com",
            )
        )
    return errors


def dns1035_label(value: str) -> list[str]:
    """A lowercase DNS label that starts with a letter (RFC 1035)."""
    errors = [too_long(63)] if _bytes(value) > 63 else []
    if not _dns1035.fullmatch(value):
        errors.append(
            regex_error(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                "character, and end with an alphanumeric character",
                DNS1035_FORMAT,
                "my-name",
                "abc-123",
            )
        )
    return errors


_QUALIFIED_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)


def qualified_name(value: str) -> list[str]:
    """A label or annotation key: an optional DNS subdomain and "/", then a name of up to 63 characters."""
    prefix, slash, name = value.rpartition("/")
    errors: list[str] = []
    if value.count("/") > 1:
        hint = regex_error(_QUALIFIED_MESSAGE, QUALIFIED_FORMAT, "MyName", "my.name", "123-abc")
        return [f"a qualified name {hint} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    if slash:
        if not prefix:
            errors.append("prefix part must be non-empty")
        else:
            errors += [f"prefix part {sentence}" for sentence in dns1123_subdomain(prefix)]
    if not name:
        errors.append("name part must be non-empty")
    elif _bytes(name) > 63:
        errors.append(f"name part {too_long(63)}")
    if not _qualified.fullmatch(name):
        hint = regex_error(_QUALIFIED_MESSAGE, QUALIFIED_FORMAT, "MyName", "my.name", "123-abc")
        errors.append(f"name part {hint}")
    return errors


def label_value(value: str) -> list[str]:
    """The value of a label: up to 63 characters, possibly none."""
    errors = [too_long(63)] if _bytes(value) > 63 else []
    if not _label_value.fullmatch(value):
        errors.append(
            regex_error(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character",
                LABEL_VALUE_FORMAT,
                "MyValue",
                "my_value",
                "12345",
            )
        )
    return errors


def port_name(value: str) -> list[str]:
    """The name of a container port (RFC 6335, lower case only)."""
    errors = [too_long(15)] if _bytes(value) > 15 else []
    if not _port_characters.fullmatch(value):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _letter.search(value):
        errors.append("must contain at least one letter (a-z)")
    if "--" in value:
        errors.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def port_number(value: int) -> list[str]:
    """A port that something can listen on."""
    return [] if 1 <= value <= 65535 else [between(1, 65535)]


def config_key(value: str) -> list[str]:
    """A key in a ConfigMap's or Secret's data; it must be usable as a file name."""
    errors = [too_long(253)] if _bytes(value) > 253 else []
    if not _config_key.fullmatch(value):
        errors.append(
            regex_error(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                CONFIG_KEY_FORMAT,
                "key.name",
                "KEY_NAME",
                "key-name",
            )
        )
    if value == ".":
        errors.append("must not be '.'")
    elif value == "..":
        errors.append("must not be '..'")
    elif value.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def variable_name(value: str) -> list[str]:
    """An environment variable's name: printable ASCII without "=" (relaxed since Kubernetes 1.34)."""
    if not value:
        return ["environment variable name must be non-empty"]
    if not _relaxed_variable.fullmatch(value):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


def http_header(value: str) -> list[str]:
    """The name of an HTTP header, as probes may send it."""
    if _http_header.fullmatch(value):
        return []
    message = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [regex_error(message, HTTP_HEADER_FORMAT, "X-Header-Name")]


def percent(value: str) -> list[str]:
    """A percentage such as "25%"."""
    if _percent.fullmatch(value):
        return []
    message = "a valid percent string must be a numeric string followed by an ending '%'"
    return [regex_error(message, PERCENT_FORMAT, "1%", "93%")]


def finalizer(value: str) -> list[str]:
    """A finalizer: a qualified name that either has a domain or is one of the standard ones."""
    errors = qualified_name(value)
    if not errors and "/" not in value and value not in STANDARD_FINALIZERS:
        errors.append(f"name is neither a standard finalizer name nor is it fully qualified: {value}")
    return errors


STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def prefix(check: Check) -> Check:
    """The check for `generateName` that goes with a check for names: a trailing dash is fine."""
    return lambda value: check(f"{value[:-1]}a" if len(value) > 1 and value.endswith("-") else value)


def generate(base: str, suffix: str) -> str:
    """A name from `generateName` and a random suffix of `SUFFIX_ALPHABET` (five characters in Kubernetes)."""
    return f"{base[:MAX_GENERATED_BASE]}{suffix}"
