"""What clients were promised: every acknowledged write, compared with what the store holds.

Every change that a user makes carries a note, an annotation with a number that nobody else uses and nobody removes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.objects.kinds import DEPLOYMENTS, SERVICES, Resource
from mesh.objects.meta import annotations_of, key_of, uid_of
from mesh.objects.types import Object

if TYPE_CHECKING:
    from tests.simulation.history import Version
    from tests.simulation.world import World

PROMISE = "No acknowledged write is missing."
KEPT = (DEPLOYMENTS, SERVICES)
"""What disappears only when a user asks for it."""


class Ledger:
    """Acknowledgements by UID of the object."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._notes: dict[str, dict[str, int]] = {}
        """By UID: each note with the revision in whose answer it was acknowledged."""
        self.known: dict[str, Object] = {}
        """By UID: the objects whose creation was acknowledged, as they were then."""
        self.asked_to_delete: set[str] = set()

    def acknowledged(self, resource: Resource, answer: Object, note: str) -> None:
        """The API has answered that `answer`, with this note, is stored."""
        world, uid = self._world, uid_of(answer)
        revision = int(answer["metadata"]["resourceVersion"])
        stored = world.history.at(revision)
        self.known.setdefault(uid, answer)
        self._notes.setdefault(uid, {})[note] = revision
        where = f"{resource.plural}/{key_of(answer)} at revision {revision}"
        if stored is None or not stored.of(resource) or stored.key != key_of(answer) or stored.object is None:
            world.fail(PROMISE, f"{where} was acknowledged, but that revision is {stored and stored.path}")
            return
        for version in world.history.versions(resource, stored.key, uid):
            if version.revision >= revision and (missing := self._missing(version)):
                world.fail(
                    PROMISE, f"{where} was acknowledged with {missing}, but revision {version.revision} lacks it"
                )

    def _missing(self, version: Version) -> str:
        """A note that should be in a version of an object and is not."""
        assert version.object is not None
        held = annotations_of(version.object)
        notes = self._notes.get(uid_of(version.object), {})
        return next((note for note, since in notes.items() if since <= version.revision and note not in held), "")

    def written(self, new: Version, old: Version | None) -> str:
        """What is wrong with a write, given what was promised; "" for nothing."""
        if new.object is not None:
            missing = self._missing(new)
            return f"{new.path} at revision {new.revision} has lost the acknowledged {missing}" if missing else ""
        if old is None or old.object is None or not any(new.of(resource) for resource in KEPT):
            return ""
        uid = uid_of(old.object)
        if uid in self.known and uid not in self.asked_to_delete:
            return f"{new.path} is gone at revision {new.revision}, and nobody asked for that"
        return ""
