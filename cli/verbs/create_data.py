"""`covey create configmap` and `covey create secret`: data from options and files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Annotated

import typer

from cli import options
from cli.creating import manifest
from cli.keyvalues import gather
from cli.verbs.create import Name, make
from mesh.errors import Terminal
from mesh.objects.kinds import CONFIGMAPS, SECRETS
from mesh.objects.types import Object

app = typer.Typer(no_args_is_help=True, help="Create a secret.")
app.callback()(options.before_the_verb)

Literals = Annotated[list[str], typer.Option("--from-literal", help="KEY=VALUE. May repeat.")]
FromFiles = Annotated[
    list[str], typer.Option("--from-file", help="PATH or KEY=PATH of a file, or a folder of files. May repeat.")
]
EnvironmentFiles = Annotated[list[str], typer.Option("--from-env-file", help="A file of lines KEY=VALUE. May repeat.")]


def create_config_map(
    name: Name,
    literals: Literals = [],
    files: FromFiles = [],
    environment_files: EnvironmentFiles = [],
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create a ConfigMap: covey create configmap c --from-literal a=b --from-file app.conf."""
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, value in gather(literals, files, environment_files, "ConfigMap").items():
        try:
            data[key] = value.decode()
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(value).decode()
    fields: Object = {field: values for field, values in (("data", data), ("binaryData", binary)) if values}
    make([manifest(CONFIGMAPS, name, **fields)], namespace, dry_run, output)


@app.command("generic")
def create_generic_secret(
    name: Name,
    literals: Literals = [],
    files: FromFiles = [],
    environment_files: EnvironmentFiles = [],
    kind: Annotated[str, typer.Option("--type", help="Type of the secret.")] = "Opaque",
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create a secret: covey create secret generic s --from-literal password=x --from-file key.pem."""
    _make_secret(name, kind, gather(literals, files, environment_files, "Secret"), namespace, dry_run, output)


@app.command("tls")
def create_tls_secret(
    name: Name,
    certificate: Annotated[Path, typer.Option("--cert", help="The certificate's file (PEM).")],
    key: Annotated[Path, typer.Option("--key", help="The private key's file (PEM).")],
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create a secret with a certificate and its key."""
    pairs = gather([], [f"tls.crt={certificate}", f"tls.key={key}"], [], "Secret")
    _check_pair(certificate, key)
    _make_secret(name, "kubernetes.io/tls", pairs, namespace, dry_run, output)


def _check_pair(certificate: Path, key: Path) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise Terminal(f"{certificate} and {key} are no certificate and its key: {error}") from error


@app.command("docker-registry")
def create_registry_secret(
    name: Name,
    server: Annotated[str, typer.Option("--docker-server", help="The registry.")] = "https://index.docker.io/v1/",
    username: Annotated[str, typer.Option("--docker-username", help="User of the registry.")] = "",
    password: Annotated[str, typer.Option("--docker-password", help="The user's password.")] = "",
    email: Annotated[str, typer.Option("--docker-email", help="The user's address.")] = "",
    files: FromFiles = [],
    namespace: options.Namespace = "",
    dry_run: options.DryRun = "none",
    output: options.Output = "",
) -> None:
    """Create a secret for pulling images: from user and password, or from a ~/.docker/config.json."""
    if files:
        if username or password or email:
            raise Terminal("--from-file cannot be combined with --docker-username, --docker-password, --docker-email")
        (content,) = gather([], files[:1], [], "Secret").values()
    else:
        missing = [n for n, v in (("docker-username", username), ("docker-password", password)) if not v]
        if missing:
            quoted = ", ".join(f'"{name}"' for name in missing)
            raise Terminal(f"either --from-file or the combination of --docker-username and --docker-password is required: "
                           f"required flag(s) {quoted} not set")  # fmt: skip
        login = {"username": username, "password": password} | ({"email": email} if email else {})
        login["auth"] = base64.b64encode(f"{username}:{password}".encode()).decode()
        content = json.dumps({"auths": {server: login}}, separators=(",", ":")).encode()
    _make_secret(name, "kubernetes.io/dockerconfigjson", {".dockerconfigjson": content}, namespace, dry_run, output)


def _make_secret(name: str, kind: str, data: dict[str, bytes], namespace: str, dry_run: str, output: str) -> None:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    fields: Object = {"data": encoded} if encoded else {}
    make([manifest(SECRETS, name, type=kind, **fields)], namespace, dry_run, output)
