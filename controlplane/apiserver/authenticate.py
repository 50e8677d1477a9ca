"""Who asks over HTTPS: the holder of a client certificate or of a bearer token, or anonymous. Pure.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mesh.api.port import User
from mesh.errors import Unauthorized

ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
AUTHENTICATED = "system:authenticated"

Certificate = dict[str, Any]
"""What `ssl.SSLSocket.getpeercert` returns for a certificate that was verified."""


def by_certificate(certificate: Certificate) -> User | None:
    """The user a verified client certificate names: common name and organizations; None without a common name."""
    name, groups = "", []
    for relative in certificate.get("subject", ()):
        for attribute, value in relative:
            if attribute == "commonName":
                name = value
            elif attribute == "organizationName":
                groups.append(value)
    return User(name, (*groups, AUTHENTICATED)) if name else None


class Authenticator:
    """Finds the user of a request. `check_token` raises `Unauthorized` for tokens it does not accept."""

    def __init__(self, check_token: Callable[[str], User]) -> None:
        self._check_token = check_token

    def authenticate(self, certificate: Certificate | None, authorization: str) -> User:
        """The user; anonymous without credentials."""
        if certificate and (user := by_certificate(certificate)):
            return user
        if authorization:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise Unauthorized("Unauthorized")
            return self._check_token(token.strip())
        return ANONYMOUS
