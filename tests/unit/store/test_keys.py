"""Store keys are safe in NATS, distinct, and can be read back."""

from __future__ import annotations

import re

import pytest

from mesh.objects.kinds import DEPLOYMENTS, NODES, PODS
from mesh.objects.meta import Key
from mesh.store import keys


@pytest.mark.parametrize(
    ("resource", "key", "stored"),
    [
        (PODS, Key("default", "web-1"), "_.pods.default.web-1"),
        (NODES, Key("", "node-1"), "_.nodes._.node-1"),
        (NODES, Key("", "node-1.example.org"), "_.nodes._.node-1=2Eexample=2Eorg"),
        (DEPLOYMENTS, Key("kube-system", "dns"), "apps.deployments.kube-system.dns"),
        (PODS, Key("default", "system:admin"), "_.pods.default.system=3Aadmin"),
        (PODS, Key("default", "ä=*> "), "_.pods.default.=C3=A4=3D=2A=3E=20"),
        (PODS, Key("_", "_"), "_.pods.=5F.=5F"),
    ],
)
def test_key_and_back(resource: object, key: Key, stored: str) -> None:
    assert keys.key_for(resource, key) == stored  # type: ignore[arg-type]
    assert re.fullmatch(r"[-_/=.a-zA-Z0-9]+", stored)
    group, plural, parsed = keys.parse(stored)
    assert (group, plural, parsed) == (resource.group, resource.plural, key)  # type: ignore[attr-defined]


def test_prefixes_cover_their_keys_only() -> None:
    pod = keys.key_for(PODS, Key("default", "web"))
    assert pod.startswith(keys.prefix_for(PODS))
    assert pod.startswith(keys.prefix_for(PODS, "default"))
    assert not pod.startswith(keys.prefix_for(PODS, "def"))
    assert keys.key_for(NODES, Key("", "n")).startswith(keys.prefix_for(NODES, ""))


@pytest.mark.parametrize("text", ["", "a.b.c", "a.b.c.d.e"])
def test_other_text_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="not a store key"):
        keys.parse(text)
