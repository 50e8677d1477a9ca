"""Service account tokens: made for TokenRequests, and accepted as proof of identity.

JSON web tokens signed with ES256 by the cluster's service account key. A token is good while its service account, and
the pod it is bound to, exist with the UIDs it names. Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm

from controlplane.apiserver import bodies, refusals
from controlplane.apiserver.registry import Registry
from controlplane.apiserver.render import Renderer
from controlplane.apiserver.routes import Route
from mesh.api.port import Request, Response, User
from mesh.clock import Clock
from mesh.errors import BadRequest, Cause, Conflict, Invalid, Terminal, Unauthorized
from mesh.objects.kinds import PODS, SERVICEACCOUNTS, Resource
from mesh.objects.meta import format_time
from mesh.objects.types import Object

ISSUER = "https://kubernetes.default.svc.cluster.local"
_ALGORITHM = "ES256"
_MIN_SECONDS = 600
_MAX_SECONDS = 1 << 32
_DEFAULT_SECONDS = 3600


class Tokens:
    """Makes and checks service account tokens with one key."""

    def __init__(self, key_pem: bytes, registry: Registry, clock: Clock) -> None:
        key = load_pem_private_key(key_pem, password=None)
        if not isinstance(key, EllipticCurvePrivateKey):
            raise Terminal("the service account key is not an elliptic curve key: remove it to have one made")
        self._key = key
        self._public = key.public_key()
        self._registry = registry
        self._clock = clock

    async def request(self, request: Request, route: Route, renderer: Renderer) -> Response:
        """POST of a TokenRequest to a service account."""
        wanted, warnings = bodies.read(request, "authentication.k8s.io/v1", "TokenRequest")
        bodies.match_name(wanted, route)
        account = await self._registry.current(SERVICEACCOUNTS, route.namespace, route.name)
        if account is None:
            raise refusals.not_found(SERVICEACCOUNTS, route.name)
        spec = wanted.get("spec") or {}
        seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
        _check_seconds(seconds)
        audiences = spec.get("audiences") or [ISSUER]
        bound = await self._bound_pod(spec.get("boundObjectRef"), route)
        expires = self._clock.now() + timedelta(seconds=seconds)
        token = self._signed(account.object, audiences, expires, bound)
        answer = {
            **wanted,
            "metadata": {
                "name": route.name,
                "namespace": route.namespace,
                "creationTimestamp": format_time(self._clock.now()),
            },
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": format_time(expires)},
        }
        return renderer.value(answer, status=201, headers=bodies.warning_headers(warnings))

    async def _bound_pod(self, reference: Object | None, route: Route) -> Object | None:
        if not reference:
            return None
        name = reference.get("name", "")
        if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod"):
            told = f"cannot bind token for serviceaccount {name!r} to type {reference.get('kind')!r}"
            raise BadRequest(told.replace("'", '"'))
        pod = await self._registry.current(PODS, route.namespace, name)
        if pod is None:
            raise refusals.not_found(PODS, name)
        found = pod.object["metadata"]["uid"]
        if reference.get("uid") not in {None, "", found}:
            raise Conflict(
                f'Operation cannot be fulfilled on Pod "{name}": the UID in the bound object reference '
                f"({reference['uid']}) does not match the UID in record. The object might have been deleted and then "
                "recreated",
                name=name,
                kind="pods",
            )
        return pod.object

    def _signed(self, account: Object, audiences: list[str], expires: datetime, pod: Object | None) -> str:
        metadata, now = account["metadata"], self._clock.now()
        about: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if pod is not None:
            about["pod"] = {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
            if node := pod["spec"].get("nodeName"):
                about["node"] = {"name": node}
        claims = {
            "iss": ISSUER,
            "aud": audiences,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int(expires.timestamp()),
            "jti": str(uuid.uuid4()),
            "kubernetes.io": about,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def key_set(self) -> bytes:
        """The public key as a JSON web key set (`/openid/v1/jwks`)."""
        key = ECAlgorithm.to_jwk(self._public, as_dict=True)
        return orjson.dumps({"keys": [{**key, "use": "sig", "alg": _ALGORITHM}]})

    def configuration(self) -> bytes:
        """`/.well-known/openid-configuration`."""
        return orjson.dumps(
            {
                "issuer": ISSUER,
                "jwks_uri": f"{ISSUER}/openid/v1/jwks",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [_ALGORITHM],
            }
        )

    def authenticate(self, token: str) -> User:
        """Whose token this is; raises `Unauthorized` when it is not, or no longer, good."""
        return self.review(token, (ISSUER,))[0]

    def review(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]]:
        """Whose token this is and for which of `audiences`; raises `Unauthorized` when it is good for none."""
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=[_ALGORITHM],
                audience=audiences,
                issuer=ISSUER,
                options={"require": ["exp", "sub"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, UnicodeError) as error:
            raise Unauthorized("Unauthorized") from error
        if datetime.fromtimestamp(claims["exp"], UTC) <= self._clock.now():
            raise Unauthorized("Unauthorized")
        about = claims["kubernetes.io"]
        namespace, account = about["namespace"], about["serviceaccount"]
        self._still_there(SERVICEACCOUNTS, namespace, account)
        extra = {}
        if pod := about.get("pod"):
            self._still_there(PODS, namespace, pod)
            extra = {
                "authentication.kubernetes.io/pod-name": (pod["name"],),
                "authentication.kubernetes.io/pod-uid": (pod["uid"],),
            }
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        user = User(claims["sub"], groups, account["uid"], extra)
        return user, [audience for audience in audiences if audience in claims["aud"]]

    def _still_there(self, resource: Resource, namespace: str, named: Object) -> None:
        item = self._registry.known(resource, namespace, named["name"])
        if item is None or item.object["metadata"]["uid"] != named["uid"]:
            raise Unauthorized("Unauthorized")


def _check_seconds(seconds: int) -> None:
    why = ""
    if seconds < _MIN_SECONDS:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > _MAX_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        told = f"Invalid value: {seconds}: {why}"
        raise Invalid(
            f'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: {told}',
            group="authentication.k8s.io",
            kind="TokenRequest",
            causes=[Cause("spec.expirationSeconds", "FieldValueInvalid", told)],
        )
