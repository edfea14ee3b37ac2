"""The equipment for flows: rules for definitions, paths, expressions and choices, each by an example."""

from __future__ import annotations

from typing import Any

import pytest

from loopback.flow_rules import faults_of
from loopback.flow_state import StateError, compute, fill, holds, look, put

STATE: dict[str, Any] = {"foo": "bar", "numbers": [1, 2, 3], "deep": {"rows": [{"n": 7}], "none": None}}
DONE = {"Type": "Pass", "End": True}


def flow(**states: Any) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states}


def test_a_small_flow_has_no_fault() -> None:
    assert faults_of(flow(Go={"Type": "Pass", "Next": "Done"}, Done=DONE)) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"States": {}}, "StartAt"),
        (flow(Go={"Type": "Parallel", "End": True}), "Parallel"),
        (flow(Go={"Type": "Pass"}), "Go"),
        (flow(Go={"Type": "Pass", "Next": "Done", "End": True}, Done=DONE), "Go"),
        (flow(Go={"Type": "Pass", "Next": "Nowhere"}), "no state 'Nowhere'"),
        (flow(Go=DONE, Lonely=DONE), "Lonely: no state leads to it"),
        (flow(Go={"Type": "Pass", "Parameters": {"deep": {"x.$": "not a path"}}, "End": True}), "not a path"),
        (flow(Go={"Type": "Pass", "ResultPath": "x", "End": True}), "ResultPath"),
        (flow(Go={"Type": "Action", "ActionUrl": "http://x", "Parameters": {}, "End": True}), "http://x"),
        (flow(Go={"Type": "Action", "ActionUrl": "https://x", "End": True}), "Go"),
        (flow(Go={"Type": "ExpressionEval", "Parameters": {}, "ResultPath": "$.x", "End": True}), "End"),
        (flow(Go={"Type": "Choice", "Choices": [{"Variable": "$.x", "Equals": 1, "Next": "Go"}]}), "Equals"),
        (flow(Go={"Type": "Wait", "Next": "Go"}), "Go"),
        (flow(Go={"Type": "Fail", "Error": "x"}), "Go"),
    ],
)
def test_a_wrong_definition_is_refused_and_the_place_named(wrong: dict[str, Any], said: str) -> None:
    assert said in "\n".join(faults_of(wrong))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("foo + '!'", "bar!"),
        ("numbers[0] + deep.rows[0].n", 8),
        ("1 if numbers[2] > 2 else 0", 1),
        ("getattr('missing', 10)", 10),
        ("getattr('foo')", "bar"),
        ("is_present('deep.rows[0].n')", True),
        ("pathsplit('/a/b')", ["/a", "b"]),
        ("[each + 1 for each in numbers]", [2, 3, 4]),
    ],
)
def test_an_expression_is_computed_from_the_state(expression: str, value: Any) -> None:
    assert compute(expression, STATE) == value


@pytest.mark.parametrize("expression", ["missing + 1", "open('/etc/passwd')", "(((", "foo.__class__"])
def test_what_no_expression_may_do_is_an_error(expression: str) -> None:
    with pytest.raises(StateError):
        compute(expression, STATE)


def test_parameters_are_filled_at_any_depth() -> None:
    template = {"a.$": "$.deep.rows[0]", "b": [{"c.=": "numbers[0] * 2"}], "d": "$.foo", "__Private_Parameters": ["a"]}
    assert fill(template, STATE) == {"a": {"n": 7}, "b": [{"c": 2}], "d": "$.foo"}


def test_a_result_is_put_where_its_path_says_and_nowhere_else() -> None:
    assert put(STATE, "$.deep.new", 1) == {**STATE, "deep": {**STATE["deep"], "new": 1}}
    assert "new" not in STATE["deep"]


@pytest.mark.parametrize("path", ["$.nothing", "$.numbers[3]", "$.foo.bar", "$.deep..rows", "foo"])
def test_a_path_that_leads_nowhere_is_an_error(path: str) -> None:
    with pytest.raises(StateError):
        look(STATE, path)


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ({"Variable": "$.deep.rows[0].n", "NumericEquals": 7}, True),
        ({"Variable": "$.deep.rows[0].n", "NumericGreaterThanEquals": 8}, False),
        ({"Variable": "$.numbers[0]", "NumericLessThanPath": "$.numbers[1]"}, True),
        ({"Variable": "$.foo", "StringEquals": "bar"}, True),
        ({"Variable": "$.foo", "NumericEquals": 7}, False),
        ({"Variable": "$.deep.none", "IsNull": True}, True),
        ({"Variable": "$.deep.rows[1]", "IsPresent": True}, False),
        ({"Not": {"Variable": "$.foo", "IsString": True}}, False),
        ({"And": [{"Variable": "$.foo", "IsPresent": True}, {"Variable": "$.foo", "StringEquals": "x"}]}, False),
    ],
)
def test_a_rule_of_a_choice_holds_or_not(rule: dict[str, Any], held: bool) -> None:
    assert holds({**rule, "Next": "x"}, STATE) is held
