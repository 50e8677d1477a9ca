"""How the small kinds are printed: namespaces, configuration, accounts, leases, events."""

from __future__ import annotations

from datetime import datetime

from controlplane.apiserver.tables.columns import AGE, NAME, Cells, Column, Printer, age
from mesh.objects.duration import since
from mesh.objects.types import Object


def _namespace(namespace: Object, now: datetime) -> Cells:
    phase = (namespace.get("status") or {}).get("phase", "")
    return [namespace["metadata"]["name"], phase, age(namespace, now)]


def _config_map(config_map: Object, now: datetime) -> Cells:
    count = len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ())
    return [config_map["metadata"]["name"], count, age(config_map, now)]


def _secret(secret: Object, now: datetime) -> Cells:
    return [secret["metadata"]["name"], secret.get("type", ""), len(secret.get("data") or ()), age(secret, now)]


def _service_account(account: Object, now: datetime) -> Cells:
    return [account["metadata"]["name"], len(account.get("secrets") or ()), age(account, now)]


def _lease(lease: Object, now: datetime) -> Cells:
    holder = (lease.get("spec") or {}).get("holderIdentity", "")
    return [lease["metadata"]["name"], holder, age(lease, now)]


def _event(event: Object, now: datetime) -> Cells:
    series, source = event.get("series"), event.get("source") or {}
    first = since(event.get("firstTimestamp") or event.get("eventTime"), now)
    last = since(event["lastTimestamp"], now) if event.get("lastTimestamp") else first
    count = event.get("count") or 1
    if series:
        last, count = since(series.get("lastObservedTime"), now), series.get("count", 0)
    about = event.get("involvedObject") or {}
    target = about.get("kind", "").lower()
    component = source.get("component") or event.get("reportingComponent", "")
    instance = source.get("host") or event.get("reportingInstance", "")
    return [
        last,
        event.get("type", ""),
        event.get("reason", ""),
        f"{target}/{about['name']}" if about.get("name") else target,
        about.get("fieldPath", ""),
        f"{component}, {instance}" if instance else component,
        event.get("message", "").strip(),
        first,
        count,
        event["metadata"]["name"],
    ]


NAMESPACES = Printer((NAME, Column("Status", description="The status of the namespace"), AGE), _namespace)
CONFIGMAPS = Printer((NAME, Column("Data", description="Data contains the configuration data."), AGE), _config_map)
SECRETS = Printer(
    (
        NAME,
        Column("Type", description="Used to facilitate programmatic handling of secret data."),
        Column("Data", description="Data contains the secret data."),
        AGE,
    ),
    _secret,
)
SERVICEACCOUNTS = Printer(
    (NAME, Column("Secrets", description="Secrets in the same namespace that pods of this account may use."), AGE),
    _service_account,
)
LEASES = Printer(
    (NAME, Column("Holder", description="holderIdentity contains the identity of the holder of a current lease."), AGE),
    _lease,
)
EVENTS = Printer(
    (
        Column("Last Seen", description="The time at which the most recent occurrence of this event was recorded."),
        Column("Type", description="Type of this event (Normal, Warning), new types could be added in the future"),
        Column("Reason", description="A short reason for the transition into the object's current status."),
        Column("Object", description="The object that this event is about."),
        Column("Subobject", priority=1, description="The part of the object that this event is about."),
        Column("Source", priority=1, description="The component reporting this event."),
        Column("Message", description="A human-readable description of the status of this operation."),
        Column("First Seen", priority=1, description="The time at which the event was first recorded."),
        Column("Count", priority=1, description="The number of times this event has occurred."),
        Column("Name", priority=1, format="name", description=NAME.description),
    ),
    _event,
)
