"""Templates of -o jsonpath, columns of -o custom-columns and the order of --sort-by; the expected texts are kubectl's."""

from __future__ import annotations

import pytest

from cli.columns import column_rows, sort_key
from cli.jsonpath import render
from cli.jsonpath_parser import parse, parse_relaxed
from mesh.errors import Terminal
from mesh.objects.types import Json, Object

PODS: Object = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "a", "labels": {"app.io/tier": "front"}},
            "spec": {"containers": [{"image": "x"}, {"image": "y"}], "replicas": 2},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        },
        {"metadata": {"name": "b"}, "spec": {"containers": [{"image": "z"}], "replicas": 10}},
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{.kind}", "List"),
        ("{$.kind} of {@.kind}", "List of List"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.name}{.items[-1].metadata.name}", "ab"),
        ("{.items[0:1].metadata.name}", "a"),
        ("{.items[-1:].metadata.name}", "b"),
        ("{.items[0,1].metadata['name']}", "a b"),
        (r"{.items[0].metadata.labels.app\.io/tier}", "front"),
        ("{.items[0].metadata.labels['app.io/tier']}", "front"),
        ("{..image}", "x y z"),
        ("{.items[*].spec.nothing}", ""),
        ("{.items[1].spec}", '{"containers":[{"image":"z"}],"replicas":10}'),
        ("{.items[*].spec.replicas}", "2 10"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.spec.replicas}{"\\n"}{end}.', "a\t2\nb\t10\n."),
        ("{range .items[*]}[{range .spec.containers[*]}{.image}{end}]{end}", "[xy][z]"),
        ('{.items[0].status.conditions[?(@.type=="Ready")].status}', "True"),
        ("{.items[?(@.spec.replicas > 5)].metadata.name}", "b"),
        ("{.items[?(@.status)].metadata.name}", "a"),
        ("{.items[?(@.metadata.name < 5)].metadata.name}", ""),
        ("{'it''s'}", None),
        ("{.items[9]}", None),
        ("{.items[0", None),
        ("{range .items[*]}", None),
        ("{end}", None),
        ("{metadata}", None),
        ("{.items[x]}", None),
    ],
)
def test_templates(template: str, expected: str | None) -> None:
    """None: refused."""
    if expected is None:
        with pytest.raises(Terminal, match="jsonpath"):
            render(parse(template), PODS)
    else:
        assert render(parse(template), PODS) == expected


def test_columns() -> None:
    spec = "NAME:.metadata.name,IMAGES:spec.containers[*].image,REPLICAS:{.spec.replicas},TIER:.metadata.labels.tier"
    assert column_rows(spec, PODS["items"]) == [
        ["NAME", "IMAGES", "REPLICAS", "TIER"],
        ["a", "x,y", "2", "<none>"],
        ["b", "z", "10", "<none>"],
    ]
    assert column_rows("N:.metadata.name", PODS["items"][:1], headers=False) == [["a"]]
    for wrong in ("", "NAME", "NAME:", ":.a", "A:.a,B", "A:.a}{.b"):
        with pytest.raises(Terminal):
            column_rows(wrong, ())


@pytest.mark.parametrize(
    "ordered",
    [
        pytest.param([None, 2, 10], id="numbers, nothing first"),
        pytest.param(["500m", 1, "1Ki", "1Mi"], id="quantities"),
        pytest.param(["2026-01-02T00:00:00Z", "2026-01-10T00:00:00Z"], id="times"),
        pytest.param(["a", "web-9", "web-10"], id="numbers in texts"),
    ],
)
def test_the_order_of_values(ordered: list[Json]) -> None:
    objects = [{"x": value} for value in ordered]
    disordered = objects[1:] + objects[:1]
    path = parse_relaxed(".x")
    assert sorted(disordered, key=lambda obj: sort_key(path, obj)) == objects
