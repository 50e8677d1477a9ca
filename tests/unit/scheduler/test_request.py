from __future__ import annotations

import pytest

from controlplane.scheduler.request import effective_requests
from mesh.objects.types import Object


def asks(cpu: str, **more: str) -> Object:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("spec", "milli"),
    [
        ({"containers": [asks("100m"), asks("200m")]}, 300),
        ({"containers": [asks("100m")], "initContainers": [asks("500m"), asks("50m")]}, 500),
        ({"containers": [asks("100m")], "initContainers": [asks("50m", restartPolicy="Always")]}, 150),
        (
            {"containers": [asks("100m")], "initContainers": [asks("50m", restartPolicy="Always"), asks("400m")]},
            450,
        ),
        (
            {"containers": [asks("100m")], "initContainers": [asks("400m"), asks("50m", restartPolicy="Always")]},
            400,
        ),
        ({"containers": [asks("100m")], "overhead": {"cpu": "20m"}}, 120),
        ({"containers": [asks("100m")], "resources": {"requests": {"cpu": "1"}}}, 1000),
    ],
)
def test_effective_requests(spec: Object, milli: float) -> None:
    assert effective_requests(spec) == {"cpu": milli}
