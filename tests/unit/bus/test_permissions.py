"""Who may use which subject."""

from __future__ import annotations

import pytest

from mesh.bus.permissions import client_permissions, covers, server_permissions
from mesh.bus.subjects import answerable


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a", False),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.b.d", False),
        ("a.*", "a.*", True),
        ("a.b", "a.*", False),
        ("a.*", "a.>", False),
        ("a.>", "a.>", True),
        ("a.>", "a.*", True),
        ("a.>", ">", False),
        ("a.*.>", "a.>", False),
    ],
)
def test_covers(pattern: str, subject: str, *, expected: bool) -> None:
    assert covers(pattern, subject) is expected


def test_a_client_speaks_only_under_its_own_name() -> None:
    mine = client_permissions("UA")
    assert mine.may_publish("covey.api.UA")
    assert mine.may_publish("covey.out.UA.s.1.2")
    assert mine.may_subscribe("_INBOX.UA.1.*")
    assert not mine.may_publish("covey.api.UB")
    assert not mine.may_publish("_INBOX.UA.1")
    assert not mine.may_subscribe("_INBOX.UAB.1")
    assert not mine.may_subscribe("_INBOX.>")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("_INBOX.UA.1", True),
        ("_INBOX.UA.1.2", True),
        ("_INBOX.UA", False),
        ("_INBOX.UA.", False),
        ("_INBOX.UA..x", False),
        ("_INBOX.UA.x.", False),
        ("_INBOX.UA.*", False),
        ("_INBOX.UAB.1", False),
        ("$KV.covey.x", False),
        ("", False),
    ],
)
def test_answers_go_only_to_the_askers_inbox(reply: str, *, expected: bool) -> None:
    assert answerable(reply, "UA") is expected


def test_a_server_stands_on_the_other_side() -> None:
    servers = server_permissions("US")
    assert servers.may_subscribe("covey.api.*")
    assert servers.may_subscribe("covey.out.*.s.abc.*")
    assert servers.may_publish("_INBOX.UA.1")
    assert servers.may_publish("covey.in.UA.call")
    assert not servers.may_publish("covey.api.UA")
    assert not servers.may_publish("$KV.covey.x")
    assert not servers.may_subscribe("_INBOX.UA.1")
