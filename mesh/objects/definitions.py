"""The OpenAPI definitions of Kubernetes 1.36 for the kinds that Covey serves.

They come with the package `kubernetes-validate`, as JSON with the `x-kubernetes-*` extensions. Loading takes some ten
milliseconds and happens once, when first asked for; what no served kind refers to is let go. The package itself is not
imported (it would bring a JSON schema library with it), only its data file read. Returned dicts are read-only.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import orjson

from mesh.errors import Terminal
from mesh.objects.kinds import BUILT_IN, REVIEWS
from mesh.objects.types import Json, Object

VERSION = "v1.36.0"

_PACKAGE = "kubernetes_validate"
_FILE = f"kubernetes-json-schema/{VERSION}-local/_definitions.json"
_PREFIX = "#/$defs/"

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_ALSO_SERVED = (
    "io.k8s.api.core.v1.Binding",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.authentication.v1.TokenRequest",
    *(_META + kind for kind in ("DeleteOptions", "Status", "Patch", "WatchEvent", "MicroTime")),
    *(_META + kind for kind in ("APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "ListMeta")),
    "io.k8s.apimachinery.pkg.version.Info",
)

TIME = _META + "Time"
MICRO_TIME = _META + "MicroTime"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"


@cache
def definitions() -> dict[str, Object]:
    """Definition name ("io.k8s.api.core.v1.Pod") -> schema, with references as bare definition names under `$ref`."""
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise Terminal(f"the Python package {_PACKAGE} is missing: install Covey's dependencies")
    everything = orjson.loads((Path(package.origin).parent / _FILE).read_bytes())["$defs"]
    served = {(r.group, r.version, kind) for r in (*BUILT_IN, *REVIEWS) for kind in (r.kind, f"{r.kind}List")}
    wanted = [
        name
        for name, schema in everything.items()
        if name in _ALSO_SERVED or any(gvk in served for gvk in _kinds_in(schema))
    ]
    kept: dict[str, Object] = {}
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = _cleaned(everything[name], wanted)
    return kept


def _kinds_in(schema: Object) -> list[tuple[str, str, str]]:
    return [(k["group"], k["version"], k["kind"]) for k in schema.get("x-kubernetes-group-version-kind") or ()]


def _cleaned(schema: Json, references: list[str]) -> Json:
    """The schema without what the package added (nullable types, enums of apiVersion and kind); collects references."""
    if isinstance(schema, list):
        return [_cleaned(item, references) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: Object = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            result[key] = value.removeprefix(_PREFIX)
            references.append(result[key])
        elif key == "type" and isinstance(value, list):
            result[key] = value[0]
        elif key == "properties":
            result[key] = {name: _cleaned(field, references) for name, field in value.items()}
            for name in ("apiVersion", "kind"):
                result[key].get(name, {}).pop("enum", None)
        else:
            result[key] = _cleaned(value, references) if isinstance(value, dict | list) else value
    return result


@cache
def _by_kind() -> dict[tuple[str, str], str]:
    return {
        (f"{group}/{version}" if group else version, kind): name
        for name, schema in definitions().items()
        for group, version, kind in _kinds_in(schema)
    }


def definition_of(api_version: str, kind: str) -> str | None:
    """The name of the definition for objects with this apiVersion and kind, or None."""
    return _by_kind().get((api_version, kind))


_NAMED_STRINGS = {
    "Condition.status": "v1.ConditionStatus",
    "Container.imagePullPolicy": "v1.PullPolicy",
    "Container.restartPolicy": "v1.ContainerRestartPolicy",
    "Container.terminationMessagePolicy": "v1.TerminationMessagePolicy",
    "ContainerPort.protocol": "v1.Protocol",
    "DeploymentStrategy.type": "v1.DeploymentStrategyType",
    "EndpointPort.protocol": "v1.Protocol",
    "EndpointSlice.addressType": "v1.AddressType",
    "EphemeralContainer.imagePullPolicy": "v1.PullPolicy",
    "EphemeralContainer.terminationMessagePolicy": "v1.TerminationMessagePolicy",
    "HTTPGetAction.scheme": "v1.URIScheme",
    "HostPathVolumeSource.type": "v1.HostPathType",
    "LabelSelectorRequirement.operator": "v1.LabelSelectorOperator",
    "EmptyDirVolumeSource.medium": "v1.StorageMedium",
    "NamespaceStatus.phase": "v1.NamespacePhase",
    "NodeAddress.type": "v1.NodeAddressType",
    "NodeSelectorRequirement.operator": "v1.NodeSelectorOperator",
    "ObjectMeta.uid": "types.UID",
    "OwnerReference.uid": "types.UID",
    "PodSpec.dnsPolicy": "v1.DNSPolicy",
    "PodSpec.preemptionPolicy": "v1.PreemptionPolicy",
    "PodSpec.restartPolicy": "v1.RestartPolicy",
    "PodStatus.phase": "v1.PodPhase",
    "PodStatus.qosClass": "v1.PodQOSClass",
    "Secret.type": "v1.SecretType",
    "ServicePort.protocol": "v1.Protocol",
    "ServiceSpec.externalTrafficPolicy": "v1.ServiceExternalTrafficPolicy",
    "ServiceSpec.internalTrafficPolicy": "v1.ServiceInternalTrafficPolicy",
    "ServiceSpec.ipFamilyPolicy": "v1.IPFamilyPolicy",
    "ServiceSpec.sessionAffinity": "v1.ServiceAffinity",
    "ServiceSpec.type": "v1.ServiceType",
    "Taint.effect": "v1.TaintEffect",
    "Toleration.effect": "v1.TaintEffect",
    "Toleration.operator": "v1.TolerationOperator",
    "TopologySpreadConstraint.whenUnsatisfiable": "v1.UnsatisfiableConstraintAction",
    "VolumeMount.mountPropagation": "v1.MountPropagationMode",
}
"""String fields that have a type of their own in Go, which the schemas do not tell but decoding errors do."""


def go_string_type(struct: str, field: str) -> str:
    """What Go calls the type of a string field."""
    return _NAMED_STRINGS.get(f"{struct}.{field}", "string")


def go_type(schema: Object) -> str:
    """What Go calls the type of a field with this schema, as decoding errors print it: "[]v1.Container"."""
    if reference := schema.get("$ref"):
        package, _, name = reference.rpartition(".")
        return f"{package.rpartition('.')[2]}.{name}"
    match schema.get("type"):
        case "array":
            return f"[]{go_type(schema['items'])}"
        case "object":
            values = schema.get("additionalProperties")
            return f"map[string]{go_type(values)}" if values else "map[string]interface {}"
        case "boolean":
            return "bool"
        case "integer" | "number":
            return {"double": "float64"}.get(schema.get("format", ""), str(schema.get("format", "int64")))
        case _:
            return "[]uint8" if schema.get("format") == "byte" else "string"
