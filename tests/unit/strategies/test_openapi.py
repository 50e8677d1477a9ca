from __future__ import annotations

import orjson
import pytest

from controlplane.apiserver import openapi_v2, openapi_v3
from controlplane.apiserver.openapi import references
from mesh.objects.kinds import BUILT_IN

V3 = {
    "api/v1": orjson.loads(openapi_v3.document("api/v1") or b""),
    "apis/apps/v1": orjson.loads(openapi_v3.document("apis/apps/v1") or b""),
}
V2 = orjson.loads(openapi_v2.document())


def test_the_index_names_each_group_version_with_its_hash() -> None:
    paths = orjson.loads(openapi_v3.index())["paths"]
    assert list(paths) == ["api/v1", "apis/apps/v1", "apis/discovery.k8s.io/v1", "apis/coordination.k8s.io/v1"]
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    assert url == f"/openapi/v3/apis/apps/v1?hash={openapi_v3.etag('apis/apps/v1')}"
    assert openapi_v3.document("apis/nothing/v1") is None


@pytest.mark.parametrize("root", V3)
def test_every_reference_leads_somewhere(root: str) -> None:
    schemas = V3[root]["components"]["schemas"]
    for reference in references(V3[root]):
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_every_reference_of_version_2_leads_somewhere() -> None:
    for reference in references(V2):
        assert reference.removeprefix("#/definitions/") in V2["definitions"]


@pytest.mark.parametrize("resource", [r for r in BUILT_IN if not r.group])
def test_each_resource_can_be_read_and_patched(resource: object) -> None:
    collection = resource.path("{namespace}")  # type: ignore[attr-defined]
    one = V3["api/v1"]["paths"][f"{collection}/{{name}}"]
    assert one["get"]["x-kubernetes-group-version-kind"]["kind"] == resource.kind  # type: ignore[attr-defined]
    # kubectl looks here for whether the server validates fields and offers a dry run.
    assert {"dryRun", "fieldValidation"} <= {parameter["name"] for parameter in one["patch"]["parameters"]}
    assert "application/strategic-merge-patch+json" in one["patch"]["requestBody"]["content"]
    assert "application/apply-patch+yaml" not in one["patch"]["requestBody"]["content"]


def test_merge_keys_are_published() -> None:
    spec = V3["api/v1"]["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]
    assert spec["properties"]["containers"]["x-kubernetes-patch-merge-key"] == "name"
    assert V2["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"] == "int-or-string"


def test_descriptions_stand_beside_references_where_clients_see_them() -> None:
    deployment = V3["apis/apps/v1"]["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    spec = deployment["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]
    assert spec["description"]
