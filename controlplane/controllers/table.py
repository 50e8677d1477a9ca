"""All controllers of the control plane, made from its configuration. The table a newcomer reads first."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.controllers.deployment import DeploymentController
from controlplane.controllers.endpoints import EndpointsController
from controlplane.controllers.endpointslice import EndpointSliceController
from controlplane.controllers.endpointslicemirroring import EndpointSliceMirroringController
from controlplane.controllers.garbagecollector import GarbageCollector
from controlplane.controllers.namespace import NamespaceController
from controlplane.controllers.node_health import HealthSource
from controlplane.controllers.nodeipam import NodeIpamController
from controlplane.controllers.nodelifecycle import NodeLifecycleController
from controlplane.controllers.podgc import PodCollector
from controlplane.controllers.replicaset import ReplicaSetController
from controlplane.controllers.rootca import RootCaController
from controlplane.controllers.serviceaccount import ServiceAccountController
from mesh.config import ServerConfig
from mesh.objects.kinds import BUILT_IN, Resource
from mesh.plan.controller import Controller


def controllers(
    config: ServerConfig, ca: str, health: HealthSource, resources: Sequence[Resource] = BUILT_IN
) -> tuple[Controller, ...]:
    """One of each. `ca` is the cluster's CA certificate (PEM), `health` what is known of the nodes' heartbeats,
    `resources` all that the API serves."""
    network = config.network
    return (
        DeploymentController(),
        ReplicaSetController(),
        EndpointSliceController(),
        EndpointSliceMirroringController(),
        EndpointsController(),
        NamespaceController(resources),
        GarbageCollector(resources),
        NodeLifecycleController(health),
        PodCollector(health),
        ServiceAccountController(),
        RootCaController(ca),
        NodeIpamController(network.pod_cidrs, network.node_mask_sizes),
    )
