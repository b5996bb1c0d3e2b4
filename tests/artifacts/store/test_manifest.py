"""The text of a manifest, written and read."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from artifacts.errors import CorruptArtifact
from artifacts.store.manifest import Codes, dump, parse
from tests.toy_artifacts import KEY, manifest

OTHER = "b" * 64

CODE = {"digest": "c" * 64, "parts": {"w2s_core.training.fit:fit": "0123456789abcdef", "w2s_core.x:y": "ü"}}


def coded(key: str = KEY, **changes: Any) -> str:
    """The text of a manifest whose fingerprint has a digest of full length."""
    return dump(dataclasses.replace(manifest(key), **{"code": CODE, **changes}))


def test_code_that_was_met_before_is_not_parsed_again() -> None:
    codes = Codes()
    first, second, third = (parse(coded(key), codes) for key in (KEY, OTHER, "c" * 64))
    assert first.code is second.code is third.code
    assert dump(third) == coded("c" * 64)


def test_manifest_in_another_layout_is_read_all_the_same() -> None:
    codes = Codes()
    parse(coded(), codes)
    assert parse(json.dumps(json.loads(coded(OTHER))), codes) == parse(coded(OTHER), Codes())


def test_other_parts_under_the_same_digest_are_read_as_they_stand() -> None:
    codes = Codes()
    parse(coded(), codes)
    other = {**CODE, "parts": {**CODE["parts"], "w2s_core.x:z": "1"}}
    assert parse(coded(code=other), codes).code == other
    assert parse(coded(), codes).code == CODE


def test_what_only_looks_like_the_code_deeper_inside_is_none() -> None:
    codes = Codes()
    parse(coded(), codes)
    data = json.loads(coded())
    begin = coded().index('\n "code"')
    inner = coded()[begin : coded().index('\n "outputs"')]
    del data["params"]
    odd = f'{{"params": {{{inner} "x": 1}}, {json.dumps({**data, "code": 7})[1:]}'
    with pytest.raises(CorruptArtifact, match="code is 7"):
        parse(odd, codes)


def test_damage_after_the_code_is_noticed_though_the_code_is_known() -> None:
    codes = Codes()
    parse(coded(), codes)
    for end in range(len(coded()) - 2):
        with pytest.raises(CorruptArtifact):
            parse(coded()[:end], codes)


def test_manifest_is_written_for_people_too() -> None:
    assert '\n "stage": "train_gt",\n' in dump(manifest())
