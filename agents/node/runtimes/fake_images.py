"""The images of a fake runtime: every reference is one, unless the policy says that no registry has it."""

from __future__ import annotations

from collections.abc import Set

from agents.node.ports import Image, RuntimeFailure
from agents.node.runtimes.references import InvalidReference, parse


class FakeImages:
    """Images by id, which is made of the reference."""

    def __init__(self) -> None:
        self._images: dict[str, Image] = {}

    def has(self, image_id: str) -> bool:
        """Whether the image is present."""
        return image_id in self._images

    def find(self, reference: str) -> Image | None:
        """See `Runtime.image`."""
        return self._images.get(reference) or self._images.get(check_name(reference))

    def fetch(self, reference: str, missing: Set[str]) -> Image:
        """See `Runtime.pull`."""
        image_id = check_name(reference)
        if reference in missing:
            name = parse(reference).name
            raise RuntimeFailure(
                "ErrImagePull",
                f"pull access denied for {name}, repository does not exist or may require 'docker login': "
                "denied: requested access to the resource is denied",
            )
        return self._images.setdefault(image_id, Image(image_id, (str(parse(reference)),), (), 1_000_000))

    def all(self) -> list[Image]:
        """See `Runtime.images`."""
        return list(self._images.values())

    def remove(self, image_id: str, used: Set[str]) -> None:
        """See `Runtime.remove_image`."""
        if image_id in used:
            raise RuntimeFailure("RuntimeError", f"conflict: unable to delete {image_id}: a container uses it")
        self._images.pop(image_id, None)


def check_name(reference: str) -> str:
    """The id of the image that a reference names; raises InvalidImageName."""
    try:
        return f"fake:{parse(reference)}"
    except InvalidReference as error:
        raise RuntimeFailure("InvalidImageName", str(error)) from error
