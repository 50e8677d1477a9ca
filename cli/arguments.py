"""How a user names resources and objects: `pods`, `po,svc`, `deploy/web`, `all`, `deployments.v1.apps`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mesh.errors import Terminal
from mesh.objects.kinds import BUILT_IN, Resource


@dataclass(frozen=True, slots=True)
class Target:
    """One resource, or one object of it when `name` is set; in a namespace of its own when `namespace` is, otherwise in
    the command's."""

    resource: Resource
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        qualified = f"{self.resource.singular}.{self.resource.group}" if self.resource.group else self.resource.singular
        return f"{qualified}/{self.name}"


def find_resource(word: str) -> Resource:
    """The resource a user means by its plural, singular, short name or kind, with or without version and group."""
    name, _, rest = word.lower().partition(".")
    for resource in BUILT_IN:
        names = {resource.plural, resource.singular, resource.kind.lower(), *resource.short_names}
        if name in names and rest in {"", resource.group, f"{resource.version}.{resource.group}".rstrip(".")}:
            return resource
    raise Terminal(f'the server doesn\'t have a resource type "{word}"')


def find_resources(words: str) -> list[Resource]:
    """Resources of a comma-separated list; a category ("all") stands for its members."""
    found: list[Resource] = []
    for word in words.split(","):
        members = [r for r in BUILT_IN if word in r.categories]
        found.extend(members or [find_resource(word)])
    return list(dict.fromkeys(found))


def parse_targets(words: Sequence[str]) -> list[Target]:
    """`TYPE`, `TYPE NAME...`, `TYPE/NAME...` as kubectl reads them; `Terminal` with kubectl's sentence otherwise."""
    if not words:
        raise Terminal("You must specify the type of resource to get: pods, deployments, nodes, ... or TYPE/NAME")
    if any("/" in word for word in words):
        return [_slashed(word) for word in words]
    resources = find_resources(words[0])
    if len(words) == 1:
        return [Target(resource) for resource in resources]
    return [Target(resource, name) for resource in resources for name in words[1:]]


def _slashed(word: str) -> Target:
    kind, slash, name = word.partition("/")
    if not slash:
        raise Terminal("there is no need to specify a resource type as a separate argument when passing arguments in "
                       "resource/name form (e.g. 'covey get resource/<resource_name>' instead of "
                       "'covey get resource resource/<resource_name>'")  # fmt: skip
    if not name or "/" in name:
        raise Terminal(f'arguments in resource/name form must have a single resource and name: "{word}"')
    return Target(find_resource(kind), name)


def one_target(words: Sequence[str], default: str = "") -> Target:
    """Exactly one object; a bare name means an object of type `default`."""
    if default and len(words) == 1 and "/" not in words[0]:
        return Target(find_resource(default), words[0])
    targets = [t for t in parse_targets(words) if t.name]
    if len(targets) != 1:
        raise Terminal("name exactly one object: TYPE/NAME or TYPE NAME")
    return targets[0]
