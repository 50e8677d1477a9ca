"""What users of the simulated cluster write."""

from __future__ import annotations

import random

from mesh.objects.types import Object


def _container(image: str) -> Object:
    return {"name": "web", "image": image, "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 80}]}


def deployment(name: str, rng: random.Random) -> Object:
    """A Deployment of some size and strategy; some have a readiness probe, some want their pods ready for a while."""
    container = _container(f"web:{rng.randrange(3)}")
    if rng.random() < 0.3:
        container["readinessProbe"] = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 2}
    strategy: Object = {"type": "Recreate"}
    if rng.random() < 0.85:
        surge, unavailable = rng.choice((("25%", "25%"), (1, 0), (0, 1), (2, 1), ("100%", "50%")))
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": rng.randrange(1, 6),
            "minReadySeconds": rng.choice((0, 0, 2)),
            "revisionHistoryLimit": 3,
            "strategy": strategy,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 5},
            },
        },
    }


def service(name: str) -> Object:
    """The Service in front of the Deployment of the same name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 80}]},
    }


def pod(name: str, *, exclusive: bool = False) -> Object:
    """A pod that nobody replaces; an exclusive one must never run twice."""
    metadata: Object = {"name": name, "labels": {"app": name}}
    if exclusive:
        metadata["annotations"] = {"covey.dev/exclusive": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [_container("web:0")], "terminationGracePeriodSeconds": 5},
    }
