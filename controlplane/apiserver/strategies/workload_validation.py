"""What Deployments and ReplicaSets share: a selector that matches the template it comes with.

Source: pkg/apis/apps/validation/validation.go of Kubernetes 1.36.
"""

from __future__ import annotations

from controlplane.apiserver.strategies import causes
from controlplane.apiserver.strategies.pod_validation import validate_template
from controlplane.apiserver.strategies.selector_validation import validate_label_selector
from mesh.errors import BadRequest, Cause
from mesh.objects import labels
from mesh.objects.labels import Selector
from mesh.objects.types import Object


def validate_selector(spec: Object, path: str, kind: str) -> tuple[Selector | None, list[Cause]]:
    """The selector if it can be used, and what is wrong with it."""
    selector = spec.get("selector")
    if selector is None:
        return None, [causes.required(f"{path}.selector")]
    found = validate_label_selector(selector, f"{path}.selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        sentence = f"empty selector is invalid for {kind}"
        found.append(causes.invalid(f"{path}.selector", selector, sentence))
    try:
        return labels.from_object(selector), found
    except BadRequest:
        # Whatever made it unusable has been reported above, field by field.
        return None, [*found, causes.invalid(f"{path}.selector", selector, "invalid label selector")]


def validate_workload_template(spec: Object, selector: Selector | None, path: str, kind: str) -> list[Cause]:
    """The template: labels that the selector selects, a valid pod, restarted always."""
    template = spec.get("template") or {}
    found: list[Cause] = []
    labelled = (template.get("metadata") or {}).get("labels") or {}
    if selector is not None and not selector.everything and not selector.matches(labelled):
        sentence = "`selector` does not match template `labels`"
        found.append(causes.invalid(f"{path}.metadata.labels", labelled, sentence))
    found += validate_template(template, path)
    pod = template.get("spec") or {}
    if pod.get("restartPolicy") != "Always":
        found.append(causes.unsupported(f"{path}.spec.restartPolicy", pod.get("restartPolicy", ""), ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        sentence = f"activeDeadlineSeconds in {kind} is not Supported"
        found.append(causes.forbidden(f"{path}.spec.activeDeadlineSeconds", sentence))
    return found


def validate_status_counts(status: Object, parts: tuple[str, ...]) -> list[Cause]:
    """Parts of the replicas are no more than all of them, and no more are available than ready."""
    total, ready, available = (status.get(field, 0) for field in ("replicas", "readyReplicas", "availableReplicas"))
    found = [
        causes.invalid(f"status.{field}", status.get(field, 0), "cannot be greater than status.replicas")
        for field in parts
        if status.get(field, 0) > total
    ]
    if available > ready:
        found.append(causes.invalid("status.availableReplicas", available, "cannot be greater than readyReplicas"))
    return found
