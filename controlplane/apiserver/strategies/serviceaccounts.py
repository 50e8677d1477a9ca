"""ServiceAccounts: nothing to default, nothing but metadata to validate."""

from __future__ import annotations

from controlplane.apiserver.strategies.strategy import Strategy
from mesh.objects import kinds

STRATEGY = Strategy(resource=kinds.SERVICEACCOUNTS)
