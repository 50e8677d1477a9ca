"""Whatever decodes is answered with causes, never with an exception: no client may provoke an internal error."""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.apiserver.strategies.registry import strategy_for
from controlplane.apiserver.strategies.strategy import invalid
from controlplane.apiserver.tables.table import table
from mesh.errors import BadRequest
from mesh.objects import schema
from mesh.objects.kinds import BUILT_IN, Resource
from tests.support import manifests
from tests.support.schema_fuzz import body

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALID = {
    obj["kind"]: obj
    for obj in vars(manifests).values()
    if isinstance(obj, dict) and {"apiVersion", "kind"} <= obj.keys()
}


@pytest.mark.parametrize("resource", BUILT_IN, ids=lambda resource: resource.kind)
@given(seed=st.integers(min_value=0, max_value=2**32))
@settings(max_examples=60, deadline=None)
def test_creating_and_updating(resource: Resource, seed: int) -> None:
    strategy = strategy_for(resource)
    obj = body(resource.api_version, resource.kind, random.Random(seed))
    try:
        schema.conform(obj, resource.api_version, resource.kind)
    except BadRequest:
        return
    strategy.defaults(obj)
    asked = copy.deepcopy(obj)
    strategy.prepare_create(obj)
    before = copy.deepcopy(obj)
    invalid(resource, "web", strategy.validate_create(obj)).to_status()
    assert obj == before, "validation changed the object"
    old = manifests.stored(VALID[resource.kind])
    for subresource in strategy.updates:
        new, stored = copy.deepcopy((asked, old))
        strategy.prepare_update(new, stored, subresource)
        strategy.validate_update(new, stored, subresource)
        assert stored == old, "an update changed the stored object"


@pytest.mark.parametrize("resource", BUILT_IN, ids=lambda resource: resource.kind)
@given(seed=st.integers(min_value=0, max_value=2**32))
@settings(max_examples=60, deadline=None)
def test_defaulting_twice_is_defaulting_once(resource: Resource, seed: int) -> None:
    obj = body(resource.api_version, resource.kind, random.Random(seed))
    strategy = strategy_for(resource)
    schema.conform(obj, resource.api_version, resource.kind)
    strategy.defaults(obj)
    once = copy.deepcopy(obj)
    strategy.defaults(obj)
    assert obj == once
    assert schema.conform(obj, resource.api_version, resource.kind) == []


@pytest.mark.parametrize("resource", BUILT_IN, ids=lambda resource: resource.kind)
@given(seed=st.integers(min_value=0, max_value=2**32))
@settings(max_examples=60, deadline=None)
def test_printing_any_status(resource: Resource, seed: int) -> None:
    rng = random.Random(seed)
    obj = manifests.stored(VALID[resource.kind])
    other = body(resource.api_version, resource.kind, rng)
    for field, given_value in other.items():
        if field not in {"metadata", "spec", "kind", "apiVersion"}:
            obj[field] = given_value
    try:
        schema.conform(obj, resource.api_version, resource.kind)
    except BadRequest:
        return
    assert len(table(resource, [obj], NOW)["rows"]) == 1
