"""Image references as Docker and Kubernetes read them: "nginx", "registry:5000/team/app:1.2@sha256:...". Pure.

The grammar is that of github.com/distribution/reference; short names mean Docker Hub, as in the kubelet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}(?:\.{_DOMAIN})*(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")


class InvalidReference(ValueError):
    """Not a reference; the message is the sentence that Kubernetes shows after InvalidImageName."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference in its parts. `name` is as the user wrote it; at least one of `tag` and `digest` is set."""

    name: str
    tag: str
    digest: str

    @property
    def registry(self) -> str:
        """The registry's host, with its port: "docker.io" for short names."""
        first, slash, _ = self.name.partition("/")
        explicit = slash and ("." in first or ":" in first or first == "localhost")
        return first if explicit else "docker.io"

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The parts of `text`, with the tag "latest" where it names neither tag nor digest; raises `InvalidReference`."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        what = "invalid reference format"
        if _REFERENCE.fullmatch(text.lower()):
            what = "invalid reference format: repository name must be lowercase"
        raise InvalidReference(
            f'Failed to apply default image tag "{text}": couldn\'t parse image name "{text}": {what}'
        )
    tag, digest = match["tag"] or "", match["digest"] or ""
    return Reference(match["name"], tag if tag or digest else "latest", digest)


def is_image_id(text: str) -> bool:
    """Whether `text` is an image id ("sha256:" and 64 hex digits), which no registry knows."""
    return _IMAGE_ID.fullmatch(text) is not None
