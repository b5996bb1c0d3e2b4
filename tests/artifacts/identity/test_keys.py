"""Tests of ``artifacts.identity.keys``.

``golden/keys.json`` has keys of fixed parameters, inputs and fingerprints. They must not change: with
them every stored artifact would count as stale. ``python -m tests.artifacts.identity.test_keys`` writes them anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.identity.keys import Canonical, artifact_key, canonical_json, json_digest, node_id, without_added
from tests.places import GOLDEN

KEYS = GOLDEN / "keys.json"
CASES: dict[str, dict[str, Any]] = json.loads(KEYS.read_text(encoding="utf-8"))


def key_of(case: dict[str, Any]) -> str:
    return artifact_key(
        stage=case["stage"],
        schema=case["schema"],
        fingerprint=case["fingerprint"],
        params=without_added(case["params"], case["added"]),
        inputs=case["inputs"],
    )


def node_of(case: dict[str, Any]) -> str:
    params = without_added(case["params"], case["added"])
    return node_id(stage=case["stage"], params=params, parents=case["parents"])


@pytest.mark.parametrize("name", CASES)
def test_key_is_golden(name: str) -> None:
    assert key_of(CASES[name]) == CASES[name]["key"]


@pytest.mark.parametrize("name", CASES)
def test_node_id_is_golden(name: str) -> None:
    assert node_of(CASES[name]) == CASES[name]["node"]


@pytest.mark.parametrize("name", CASES)
def test_canonical_json_of_parameters_stands_for_them(name: str) -> None:
    case = CASES[name]
    text = Canonical(canonical_json(without_added(case["params"], case["added"])))
    assert node_id(stage=case["stage"], params=text, parents=case["parents"]) == case["node"]
    about = {name: case[name] for name in ("stage", "schema", "fingerprint", "inputs")}
    assert artifact_key(**about, params=text) == case["key"]


@pytest.mark.parametrize("name", CASES)
def test_order_of_parameters_does_not_change_key(name: str) -> None:
    case = CASES[name]
    turned = {**case, "params": dict(reversed(case["params"].items()))}
    assert key_of(turned) == case["key"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("stage", "other"),
        ("schema", 2),
        ("fingerprint", "0" * 64),
        ("params", {}),
        ("inputs", {}),
    ],
)
def test_every_part_counts_in_key(part: str, value: Any) -> None:
    case = CASES["train_w2s"]
    assert key_of({**case, part: value}) != case["key"]


def test_code_and_input_bytes_do_not_count_in_node_id() -> None:
    case = CASES["train_w2s"]
    assert node_of({**case, "fingerprint": "0" * 64, "inputs": {}}) == case["node"]


def test_added_parameter_at_its_frozen_value_keeps_key() -> None:
    before, after = CASES["before a parameter was added"], CASES["added parameter, frozen value"]
    assert before["params"] != after["params"]
    assert key_of(before) == key_of(after)
    assert node_of(before) == node_of(after)


def test_added_parameter_at_another_value_changes_key() -> None:
    assert key_of(CASES["added parameter, another value"]) != key_of(CASES["added parameter, frozen value"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "ψ"]}, '{"a":[true,null,"ψ"],"b":1}'),
        ((1, 2), "[1,2]"),
        (0.1, "0.1"),
        (1e-5, "1e-05"),
        (1.0, "1.0"),
        (10**20, "100000000000000000000"),
        ("\n\u2028", '"\\n\u2028"'),
    ],
)
def test_canonical_json_is_this_text(value: Any, text: str) -> None:
    assert canonical_json(value) == text


def test_whole_float_and_integer_are_different() -> None:
    assert json_digest(1) != json_digest(1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_is_no_json_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"lr": value})


@pytest.mark.parametrize("value", [{1, 2}, b"a", Path("a"), object()])
def test_value_that_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        canonical_json([value])


def test_key_that_is_no_string_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a string, not 1"):
        canonical_json([{"a": {1: "b"}}])


def test_without_added_leaves_its_argument_alone() -> None:
    params = {"training": {"ema": 0.0, "epochs": 2}}
    assert without_added(params, {"training.ema": 0.0}) == {"training": {"epochs": 2}}
    assert params == {"training": {"ema": 0.0, "epochs": 2}}


def test_table_that_is_empty_without_what_was_added_is_as_if_it_were_not_there() -> None:
    params = {"epochs": 2, "learn": {"probe": {"l2": 0.0}}}
    assert without_added(params, {"learn.probe.l2": 0.0}) == {"epochs": 2}
    assert without_added({"learn": {}}, {"learn.probe": None}) == {"learn": {}}


@pytest.mark.parametrize("turned", [False, True])
def test_what_was_added_to_a_table_goes_before_the_table_is_compared(turned: bool) -> None:
    added = {"stop": {"rule": "final"}, "stop.patience": 1}
    added = dict(reversed(added.items())) if turned else added
    assert without_added({"stop": {"rule": "final", "patience": 1}}, added) == {}


@pytest.mark.parametrize("path", ["ema", "training.ema", "model.lora.rank", "model.lora"])
def test_added_parameter_that_is_absent_is_passed_over(path: str) -> None:
    params = {"training": {"epochs": 2}, "model": {"lora": None}}
    assert without_added(params, {path: 0.0}) == params


def test_frozen_values_of_another_type_stay() -> None:
    assert without_added({"ema": 0}, {"ema": False}) == {"ema": 0}


def write_golden() -> None:
    """Compute the keys in the golden file anew, keeping its parameters."""
    for case in CASES.values():
        case["key"], case["node"] = key_of(case), node_of(case)
    KEYS.write_text(json.dumps(CASES, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_golden()
