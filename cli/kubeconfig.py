"""The kubeconfig of a cluster: what kubectl, Helm and client libraries read. Pure."""

from __future__ import annotations

import base64

import yaml


def render(*, cluster: str, server: str, ca: bytes, certificate: bytes, key: bytes) -> str:
    """A kubeconfig file with one context, its credentials inside. `ca`, `certificate` and `key` are PEM."""

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    user = f"{cluster}-admin"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": encoded(ca)}}],
        "users": [
            {"name": user, "user": {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}}
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user, "namespace": "default"}}],
        "current-context": cluster,
    }
    return yaml.safe_dump(document, sort_keys=False)
