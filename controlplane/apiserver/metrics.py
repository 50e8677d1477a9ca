"""What the API server measures of itself, under the names that Kubernetes' dashboards know."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.apiserver.registry import Registry
from controlplane.apiserver.routes import Route
from mesh.api.port import Response

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class _CacheCollector(Collector):
    """Reads the watch caches when asked."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Objects and watchers of each resource."""
        objects = GaugeMetricFamily(
            "apiserver_resource_objects", "Objects in the watch cache.", labels=["group", "resource"]
        )
        watchers = GaugeMetricFamily("apiserver_longrunning_requests", "Open watches.", labels=["group", "resource"])
        for cache in self._registry.caches:
            for resource, held in cache.resources.items():
                objects.add_metric([resource.group, resource.plural], len(held.items))
                watchers.add_metric([resource.group, resource.plural], held.watcher_count)
        yield objects
        yield watchers


class Metrics:
    """Counts and times requests."""

    def __init__(self, registry: Registry) -> None:
        self._collectors = CollectorRegistry()
        self._total = Counter(
            "apiserver_request",
            "Requests by verb, resource and answer.",
            ["verb", "group", "resource", "subresource", "code"],
            registry=self._collectors,
        )
        self._seconds = Histogram(
            "apiserver_request_duration_seconds",
            "How long requests took.",
            ["verb", "group", "resource"],
            buckets=_BUCKETS,
            registry=self._collectors,
        )
        self._children: dict[tuple[str, str, str, str, int], tuple[Counter, Histogram]] = {}
        self._collectors.register(_CacheCollector(registry))

    def observe(self, route: Route | None, verb: str, code: int, seconds: float) -> None:
        """One request was answered; `route` is None for paths that are no resource."""
        group, resource, subresource = "", "", ""
        if route is not None:
            group, resource, subresource = route.resource.group, route.resource.plural, route.subresource
        key = (verb, group, resource, subresource, code)
        found = self._children.get(key)
        if found is None:
            labels = (verb.upper(), group, resource)
            found = (self._total.labels(*labels, subresource, str(code)), self._seconds.labels(*labels))
            self._children[key] = found
        found[0].inc()
        found[1].observe(seconds)

    def answer(self) -> Response:
        """`/metrics`: our own, and what the rest of the process counts (the process itself, store, scheduler, ...)."""
        text = generate_latest(self._collectors) + generate_latest(REGISTRY)
        return Response(200, text, "text/plain; version=0.0.4; charset=utf-8")
