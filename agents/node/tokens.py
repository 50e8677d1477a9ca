"""Service account tokens for projected volumes, bound to their pod, fetched through TokenRequest and renewed in time.

https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.node.volumes import TokenNeed, token_needs
from mesh.client.client import Client
from mesh.clock import Clock
from mesh.objects.kinds import SERVICEACCOUNTS
from mesh.objects.meta import name_of, namespace_of, parse_time, uid_of
from mesh.objects.types import Object

RETRY_AFTER = timedelta(seconds=30)
"""After a failed attempt."""
RENEW_AT = 0.8
"""Part of a token's life after which it is replaced."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at: datetime


class Tokens:
    """Tokens by pod and need, in memory only."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._tokens: dict[str, dict[TokenNeed, _Token]] = {}
        self._next_try: dict[str, datetime] = {}

    async def fetch(self, pod: Object) -> dict[TokenNeed, str]:
        """A valid token for every need of the pod. Raises `ApiError`."""
        known = self._tokens.setdefault(uid_of(pod), {})
        now = self._clock.now()
        self._next_try[uid_of(pod)] = now + RETRY_AFTER
        for need in token_needs(pod):
            token = known.get(need)
            if token is None or now >= token.renew_at:
                known[need] = await self._request(pod, need)
        return {need: token.text for need, token in known.items()}

    async def _request(self, pod: Object, need: TokenNeed) -> _Token:
        asked = self._clock.now()
        answer = await self._client.create_subresource(
            SERVICEACCOUNTS,
            pod["spec"].get("serviceAccountName") or "default",
            namespace_of(pod),
            "token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "metadata": {},
                "spec": {
                    "audiences": [need.audience] if need.audience else [],
                    "expirationSeconds": need.seconds,
                    "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)},
                },
            },
        )
        expires = parse_time(answer["status"]["expirationTimestamp"])
        return _Token(answer["status"]["token"], asked + (expires - asked) * RENEW_AT)

    def renew_at(self, pod: Object) -> datetime | None:
        """When the first of the pod's tokens has to be replaced; at once for one that is not known, as after a restart
        of the agent. None for a pod without tokens."""
        needs = list(token_needs(pod))
        if not needs:
            return None
        known = self._tokens.get(uid_of(pod), {})
        now = self._clock.now()
        due = now if any(need not in known for need in needs) else min(known[need].renew_at for need in needs)
        return max(due, self._next_try.get(uid_of(pod), now))

    def forget(self, pod_uid: str) -> None:
        """The pod is gone."""
        self._tokens.pop(pod_uid, None)
        self._next_try.pop(pod_uid, None)
