from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import BadRequest
from mesh.objects import labels

POD = {"app": "web", "tier": "front", "weight": "10", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app=web,tier=front", True),
        ("app=web,tier=back", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("app in (web,db)", True),
        ("app in (db)", False),
        ("missing in (x)", False),
        ("app notin (db)", True),
        ("app notin (web)", False),
        ("missing notin (x)", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("!app", False),
        ("weight>9", True),
        ("weight>10", False),
        ("weight<11", True),
        ("app>1", False),
        ("missing<1", False),
        ("empty=", True),
        ("empty in (,x)", True),
        ("app=web,app=db", False),
        ("app in (web,db),app!=db", True),
        (" app = web , ! missing ", True),
    ],
)
def test_matching(selector: str, matches: bool) -> None:
    assert labels.parse(selector).matches(POD) is matches


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a==b", "a==b"),
        ("b=2,a=1", "a=1,b=2"),
        ("e in (y, x)", "e in (x,y)"),
        ("g>1,!f,h", "!f,g>1,h"),
        ("in=notin", "in=notin"),
        ("example.com/name=x", "example.com/name=x"),
    ],
)
def test_printing(text: str, printed: str) -> None:
    assert str(labels.parse(text)) == printed
    assert labels.parse(printed) == labels.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,", "found '', expected: identifier after ','"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=!", "unable to parse requirement: found '!', expected: identifier"),
        ("a in ()", "values set can't be empty"),
        ("a>x", "for 'Gt', 'Lt' operators, the value must be an integer"),
        ("-a=b", 'unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of alphanumeric'),
        ("a=-", 'values[0][a]: Invalid value: "-": a valid label must be an empty string or consist of'),
    ],
)
def test_parse_errors_are_those_of_kubernetes(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        labels.parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("selector", "printed"),
    [
        ({}, "<none>"),
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}, "a in (x,y)"),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, "a notin (x)"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "a"),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, "!a"),
    ],
)
def test_selector_objects(selector: dict[str, object], printed: str) -> None:
    assert labels.format_object(selector) == printed


def test_no_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not labels.from_object(None).matches(POD)
    assert labels.from_object({}).matches(POD)
    assert labels.from_object({}) == labels.EVERYTHING


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(BadRequest, match='"Like" is not a valid label selector operator'):
        labels.from_object({"matchExpressions": [{"key": "a", "operator": "Like"}]})


def test_the_value_that_a_label_must_have() -> None:
    selector = labels.parse("app=web,tier in (a,b)")
    assert selector.required("app") == "web"
    assert selector.required("tier") is None


KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["", "x", "y"])


@given(st.lists(st.tuples(KEYS, VALUES), max_size=4), st.dictionaries(KEYS, VALUES))
def test_equalities_mean_what_they_say(pairs: list[tuple[str, str]], having: dict[str, str]) -> None:
    selector = labels.parse(",".join(f"{key}={value}" for key, value in pairs))
    assert selector.matches(having) == all(having.get(key) == value for key, value in pairs)
