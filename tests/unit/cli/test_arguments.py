from __future__ import annotations

import pytest

from cli.arguments import find_resource, one_target, parse_targets
from mesh.errors import Terminal
from mesh.objects.kinds import DEPLOYMENTS, PODS, REPLICASETS, SERVICES


@pytest.mark.parametrize("word", ["deployments", "deployment", "deploy", "Deployment", "deploy.apps", "deploy.v1.apps"])
def test_a_resource_has_many_names(word: str) -> None:
    assert find_resource(word) == DEPLOYMENTS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pods"], ["pod/"]),
        (["po,svc"], ["pod/", "service/"]),
        (["pod", "a", "b"], ["pod/a", "pod/b"]),
        (["pod/a", "deploy/b"], ["pod/a", "deployment.apps/b"]),
    ],
)
def test_targets(words: list[str], expected: list[str]) -> None:
    assert [str(target) for target in parse_targets(words)] == expected


def test_all_is_a_category() -> None:
    assert [t.resource for t in parse_targets(["all"])] == [PODS, SERVICES, REPLICASETS, DEPLOYMENTS]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "You must specify the type of resource"),
        (["gizmos"], 'the server doesn\'t have a resource type "gizmos"'),
        (["pod/a", "b"], "there is no need to specify a resource type as a separate argument"),
        (["pod/"], "arguments in resource/name form must have a single resource and name"),
        (["pod/a/b"], "arguments in resource/name form must have a single resource and name"),
    ],
)
def test_mistakes(words: list[str], sentence: str) -> None:
    with pytest.raises(Terminal, match=sentence):
        parse_targets(words)


def test_a_bare_name_takes_the_default_type() -> None:
    assert str(one_target(["web-1"], default="pods")) == "pod/web-1"
    assert str(one_target(["deploy/web"], default="pods")) == "deployment.apps/web"
