from __future__ import annotations

import pytest

from agents.node.runtimes.references import InvalidReference, is_image_id, parse

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "whole", "registry"),
    [
        ("nginx", "nginx:latest", "docker.io"),
        ("nginx:1.7.9", "nginx:1.7.9", "docker.io"),
        ("library/nginx", "library/nginx:latest", "docker.io"),
        ("localhost/app", "localhost/app:latest", "localhost"),
        ("127.0.0.1:5000/team/app:v1", "127.0.0.1:5000/team/app:v1", "127.0.0.1:5000"),
        ("registry.k8s.io/pause", "registry.k8s.io/pause:latest", "registry.k8s.io"),
        (f"app@{DIGEST}", f"app@{DIGEST}", "docker.io"),
        (f"r.example/app:1@{DIGEST}", f"r.example/app:1@{DIGEST}", "r.example"),
    ],
)
def test_references(text: str, whole: str, registry: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.registry) == (whole, registry)


@pytest.mark.parametrize("text", ["", "a b", "nginx:", ":tag", "app@sha256:short", "a//b", "-app", "UPPER_case."])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidReference, match=r"couldn't parse image name .*: invalid reference format"):
        parse(text)


def test_capitals_get_a_hint() -> None:
    with pytest.raises(InvalidReference, match="repository name must be lowercase"):
        parse("Nginx")


def test_image_ids() -> None:
    assert is_image_id(DIGEST)
    assert not is_image_id("nginx")
