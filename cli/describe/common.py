"""Blocks that several kinds share: metadata, conditions, events, pod templates, containers, volumes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from cli.describe.layout import NONE, Page, local_time
from mesh.objects.duration import since
from mesh.objects.meta import annotations_of, controller_of, labels_of, name_of, namespace_of
from mesh.objects.types import Object

_HIDDEN = {"kubectl.kubernetes.io/last-applied-configuration"}


def metadata(page: Page, obj: Object, *, namespaced: bool = True) -> None:
    """Name, namespace, labels, annotations."""
    page.field("Name", name_of(obj))
    if namespaced:
        page.field("Namespace", namespace_of(obj))
    page.pairs("Labels", labels_of(obj))
    shown = {k: v for k, v in annotations_of(obj).items() if k not in _HIDDEN}
    page.pairs("Annotations", shown, joint=": ")


def controlled_by(page: Page, obj: Object) -> None:
    """The controller that owns the object, when there is one."""
    owner = controller_of(obj)
    if owner:
        page.field("Controlled By", f"{owner['kind']}/{owner['name']}")


def conditions(page: Page, obj: Object, *, reasons: bool) -> None:
    """The status' conditions, with their reasons or only their values."""
    found = (obj.get("status") or {}).get("conditions") or ()
    if not found:
        return
    page.heading("Conditions")
    headers = ["Type", "Status", "Reason"] if reasons else ["Type", "Status"]
    rows = [[c["type"], c["status"], c.get("reason", "")] if reasons else [c["type"], c["status"]] for c in found]
    page.table(headers, rows)


def events(page: Page, found: Sequence[Object], now: datetime) -> None:
    """What happened to the object, oldest first."""
    if not found:
        page.field("Events", NONE)
        return
    page.heading("Events")
    ordered = sorted(found, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
    page.table(["Type", "Reason", "Age", "From", "Message"], (_event_row(e, now) for e in ordered))


def _event_row(event: Object, now: datetime) -> list[str]:
    last = event.get("lastTimestamp") or event.get("eventTime")
    count = int(event.get("count") or 1)
    when = since(last, now)
    if count > 1:
        when += f" (x{count} over {since(event.get('firstTimestamp') or last, now)})"
    source = (event.get("source") or {}).get("component") or event.get("reportingComponent", "")
    return [event.get("type", ""), event.get("reason", ""), when, source, str(event.get("message", "")).strip()]


def template(page: Page, found: Object) -> None:
    """A pod template."""
    page.heading("Pod Template")
    page.pairs("Labels", (found.get("metadata") or {}).get("labels"), indent=2)
    annotations = (found.get("metadata") or {}).get("annotations")
    if annotations:
        page.pairs("Annotations", annotations, indent=2, joint=": ")
    spec = found["spec"]
    if spec.get("initContainers"):
        containers(page, "Init Containers", spec["initContainers"], (), indent=2)
    containers(page, "Containers", spec.get("containers") or (), (), indent=2)
    volumes(page, spec.get("volumes") or (), indent=2)
    placement(page, spec, indent=2)


def placement(page: Page, spec: Object, indent: int = 0) -> None:
    """Where the pod may run."""
    page.pairs("Node-Selectors", spec.get("nodeSelector"), indent)
    page.listed("Tolerations", [_toleration(t) for t in spec.get("tolerations") or ()], indent)


def _toleration(found: Object) -> str:
    text = str(found.get("key", ""))
    if found.get("value"):
        text += f"={found['value']}"
    if found.get("effect"):
        text += f":{found['effect']}"
    if found.get("operator") == "Exists":
        text += " op=Exists"
    if "tolerationSeconds" in found:
        text += f" for {found['tolerationSeconds']}s"
    return text.strip()


def containers(page: Page, title: str, found: Iterable[Object], statuses: Iterable[Object], indent: int = 0) -> None:
    """Each container's specification, with its state where there is one."""
    by_name = {s["name"]: s for s in statuses}
    page.heading(title, indent)
    for container in found:
        page.heading(container["name"], indent + 1)
        _container(page, container, by_name.get(container["name"]), indent + 4)


def _container(page: Page, found: Object, status: Object | None, indent: int) -> None:
    if status:
        page.field("Container ID", status.get("containerID", ""), indent)
    page.field("Image", found.get("image", ""), indent)
    if status:
        page.field("Image ID", status.get("imageID", ""), indent)
    ports = found.get("ports") or ()
    page.field("Port", ", ".join(f"{p['containerPort']}/{p.get('protocol', 'TCP')}" for p in ports) or NONE, indent)
    page.field(
        "Host Port", ", ".join(f"{p.get('hostPort', 0)}/{p.get('protocol', 'TCP')}" for p in ports) or NONE, indent
    )
    for field, title in (("command", "Command"), ("args", "Args")):
        if found.get(field):
            page.heading(title, indent)
            for word in found[field]:
                page.line(str(word), indent=indent + 2)
    if status:
        _state(page, status, indent)
    _resources(page, found.get("resources") or {}, indent)
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if found.get(field):
            page.field(field.removesuffix("Probe").capitalize(), _probe(found[field]), indent)
    _environment(page, found, indent)
    mounts = found.get("volumeMounts") or ()
    page.heading("Mounts", indent) if mounts else page.field("Mounts", NONE, indent)
    for mount in mounts:
        mode = "ro" if mount.get("readOnly") else "rw"
        page.line(f"{mount['mountPath']} from {mount['name']} ({mode})", indent=indent + 2)


def _resources(page: Page, resources: Object, indent: int) -> None:
    for field, title in (("limits", "Limits"), ("requests", "Requests")):
        if resources.get(field):
            page.heading(title, indent)
            for name, amount in sorted(resources[field].items()):
                page.field(name, amount, indent + 2)


def _state(page: Page, status: Object, indent: int) -> None:
    for field, title in (("state", "State"), ("lastState", "Last State")):
        for name, state in (status.get(field) or {}).items():
            page.field(title, name.capitalize(), indent)
            _state_details(page, state, indent + 2)
    page.field("Ready", status.get("ready", False), indent)
    page.field("Restart Count", status.get("restartCount", 0), indent)


def _state_details(page: Page, state: Object, indent: int) -> None:
    for field, title in (("reason", "Reason"), ("message", "Message"), ("exitCode", "Exit Code"), ("signal", "Signal")):
        if field in state:
            page.field(title, state[field], indent)
    for field, title in (("startedAt", "Started"), ("finishedAt", "Finished")):
        if field in state:
            page.field(title, local_time(state[field]), indent)


def _probe(probe: Object) -> str:
    if "exec" in probe:
        what = f"exec {probe['exec'].get('command', [])}"
    elif "httpGet" in probe:
        http = probe["httpGet"]
        scheme, path = http.get("scheme", "HTTP").lower(), http.get("path", "/")
        what = f"http-get {scheme}://{http.get('host', '')}:{http['port']}{path}"
    elif "tcpSocket" in probe:
        what = f"tcp-socket {probe['tcpSocket'].get('host', '')}:{probe['tcpSocket']['port']}"
    else:
        grpc = probe.get("grpc") or {}
        what = f"grpc <pod>:{grpc.get('port', '')} {grpc.get('service', '')}".rstrip()
    return (
        f"{what} delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 1)}s "
        f"period={probe.get('periodSeconds', 10)}s successThreshold={probe.get('successThreshold', 1)} "
        f"failureThreshold={probe.get('failureThreshold', 3)}"
    )


def _environment(page: Page, found: Object, indent: int) -> None:
    sources = found.get("envFrom") or ()
    if sources:
        page.heading("Environment Variables from", indent)
        for source in sources:
            kind = "configMapRef" if "configMapRef" in source else "secretRef"
            title = "ConfigMap" if kind == "configMapRef" else "Secret"
            optional = source[kind].get("optional", False)
            page.line(source[kind].get("name", ""), title, f"Optional: {optional}", indent=indent + 2)
    variables = found.get("env") or ()
    if not variables:
        page.field("Environment", NONE, indent)
        return
    page.heading("Environment", indent)
    for variable in variables:
        page.field(variable["name"], _value(variable), indent + 2)


def _value(variable: Object) -> str:
    source = variable.get("valueFrom")
    if not source:
        return str(variable.get("value", ""))
    for field, place in (("configMapKeyRef", "of config map"), ("secretKeyRef", "in secret")):
        if field in source:
            ref = source[field]
            optional = ref.get("optional", False)
            return f"<set to the key '{ref['key']}' {place} '{ref.get('name', '')}'>  Optional: {optional}"
    if "fieldRef" in source:
        return f"({source['fieldRef'].get('apiVersion', 'v1')}:{source['fieldRef']['fieldPath']})"
    ref = source.get("resourceFieldRef") or {}
    return f"{ref.get('resource', '')} ({ref.get('containerName', 'this container')})"


def volumes(page: Page, found: Sequence[Object], indent: int = 0) -> None:
    """Volumes by name, with their source's fields."""
    if not found:
        page.field("Volumes", NONE, indent)
        return
    page.heading("Volumes", indent)
    for volume in found:
        page.heading(volume["name"], indent + 1)
        for source, details in volume.items():
            if source == "name":
                continue
            page.field("Type", source[0].upper() + source[1:], indent + 4)
            for field, value in (details or {}).items():
                if not isinstance(value, dict | list):
                    page.field(field[0].upper() + field[1:], value, indent + 4)
