"""What an image's name says: when to pull it, from which registry; and the name that says exactly which image runs. Pure.

https://kubernetes.io/docs/concepts/containers/images/
"""

from __future__ import annotations

from agents.node.ports import Image
from mesh.objects.types import Object


def policy_of(container: Object) -> str:
    """`Always`, `IfNotPresent` or `Never`; without one, Always for the tag `latest` and for no tag."""
    if policy := container.get("imagePullPolicy"):
        return str(policy)
    last = str(container["image"]).rsplit("/", 1)[-1]
    latest = "@" not in last and (":" not in last or last.endswith(":latest"))
    return "Always" if latest else "IfNotPresent"


def registry_of(reference: str) -> str:
    """The registry's host as Docker reads a reference: `localhost:5000/app` or Docker Hub."""
    first = reference.split("/", 1)[0]
    named = "/" in reference and ("." in first or ":" in first or first == "localhost")
    return first if named else "docker.io"


def repository_of(reference: str) -> str:
    """A reference without tag and digest, in full: `nginx:1` is `docker.io/library/nginx`."""
    name = reference.partition("@")[0]
    directory, slash, last = name.rpartition("/")
    name = directory + slash + last.partition(":")[0]
    if registry_of(reference) != "docker.io" or name.startswith("docker.io/"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def image_id(image: Image, reference: str) -> str:
    """`imageID` of a container's status: the registry's digest of the image under the name it was asked for by, as
    `host/repository@sha256:...`; another name's where it has none under this; the image's id for one of no registry."""
    digests = {repository_of(known): known.partition("@")[2] for known in reversed(image.digests)}
    if not digests:
        return image.id
    repository = repository_of(reference)
    if repository not in digests:
        repository = repository_of(image.digests[0])
    return f"{repository}@{digests[repository]}"
