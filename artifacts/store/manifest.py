"""The manifest of an artifact: what it is, what it was made of, and its files.

Where it lies is in ``store``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pydantic_core

from artifacts.errors import CorruptArtifact
from artifacts.identity.keys import JSON


@dataclass(frozen=True, slots=True)
class Output:
    """One named output: a Parquet file or a folder, at the top level of its artifact."""

    digest: str
    """Of its values, see ``digests.digest_output``."""
    files: Mapping[str, int]
    """Path relative to the artifact to size in bytes."""
    evicted: bool = False
    """Whether its files were removed to save room; it still counts as done."""
    superseded: tuple[str, ...] = ()
    """Digests that it had before it was evicted and made again with other bytes."""

    @property
    def path(self) -> str:
        """The file or folder, relative to the artifact."""
        return next(iter(self.files)).partition("/")[0]

    def after(self, evicted: Output) -> Output:
        """This output, made again after it was evicted; the earlier digest is superseded where it differs."""
        digests = dict.fromkeys([*evicted.superseded, evicted.digest])
        return replace(self, superseded=tuple(digest for digest in digests if digest != self.digest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What one artifact is; its presence in the store means that the artifact is complete."""

    key: str
    node: str
    """Node id, see ``keys.node_id``."""
    stage: str
    schema: int
    params: Mapping[str, JSON]
    labels: Mapping[str, JSON]
    """What tables call it: dataset, model, half, supervisor, method, seed."""
    inputs: Mapping[str, Mapping[str, JSON]]
    """Name to ``{"stage", "key", "output", "path", "digest"}``; a path, or the other three."""
    code: Mapping[str, Any]
    """``{"digest": ..., "parts": {"module:function": hash}}``."""
    outputs: Mapping[str, Output]
    side: Mapping[str, int] = field(default_factory=dict)
    """Files in no digest, such as curves: relative path to size in bytes."""
    metrics: Mapping[str, JSON] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    """``{"started": ISO time in UTC, "seconds": float}``."""
    environment: Mapping[str, JSON] = field(default_factory=dict)
    """Versions, host, device and threads that it was made with."""

    @property
    def code_digest(self) -> str:
        """Digest of all code that the stage reached."""
        digest: str = self.code["digest"]
        return digest

    @property
    def code_parts(self) -> dict[str, str]:
        """``"module:function"`` to hash, of all code that the stage reached."""
        parts: dict[str, str] = self.code["parts"]
        return parts

    @property
    def payload(self) -> dict[str, int]:
        """Path to size of every file that has to be there: those of the outputs that were not evicted."""
        kept = [output.files for output in self.outputs.values() if not output.evicted]
        return {path: size_bytes for paths in kept for path, size_bytes in paths.items()}

    def problem(self, size_of: Callable[[str], int | None]) -> str | None:
        """The first file that is not there with its size: ``"test.parquet: 120 of 4096 bytes"``."""
        for output in self.outputs.values():
            for path, size_bytes in () if output.evicted else output.files.items():
                found = size_of(path)
                if found != size_bytes:
                    state = "missing" if found is None else f"{found} of {size_bytes} bytes"
                    return f"{path}: {state}"
        return None


FIELDS: dict[str, type] = {
    "key": str, "node": str, "stage": str, "schema": int, "params": dict, "labels": dict,
    "inputs": dict, "code": dict, "outputs": dict, "side": dict, "metrics": dict,
    "timings": dict, "environment": dict,
}  # fmt: skip
OUTPUT_FIELDS: dict[str, type] = {"digest": str, "files": dict, "evicted": bool, "superseded": list}
_NOT_INSIDE = frozenset(("", ".", ".."))


def dump(manifest: Manifest) -> str:
    """The text of ``manifest.json``."""
    return _dumped(asdict(manifest)) + "\n"


def _dumped(value: JSON) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)


class Codes:
    """The code fingerprints of manifests: most of what these say, and thousands of them share a few."""

    _BEGINS = '\n "code": {\n  "digest": "'
    _N_DIGITS = 64

    def __init__(self) -> None:
        self._known: dict[str, JSON] = {}
        """By digest."""
        self._texts: dict[str, str] = {}
        """By digest, as ``dump`` writes them."""

    def shared(self, code: JSON) -> JSON:
        """An equal fingerprint that was met before; else this one."""
        known = self._known.setdefault(code["digest"], code)
        return known if known is code or known == code else code

    def load(self, text: str) -> dict[str, JSON]:
        """``load``, which passes over the text of a fingerprint that was met before."""
        begin = text.find(self._BEGINS)
        first = begin + len(self._BEGINS)
        digest = text[first : first + self._N_DIGITS]
        known = self._texts.get(digest)
        if known is not None and text.startswith(known, begin):
            data = load(f'{text[:begin]}\n "code": "{digest}"{text[begin + len(known) :]}')
            if data.get("code") == digest:  # and not a field deeper inside
                return {**data, "code": self._known[digest]}
        data = load(text)
        code = data.get("code")
        if isinstance(code, dict) and code.get("digest") == digest and self.shared(code) is self._known[digest]:
            self._texts[digest] = '\n "code": ' + _dumped(code).replace("\n", "\n ")
        return data


def parse(text: str, codes: Codes) -> Manifest:
    """The manifest in a text.

    Args:
        text: content of a ``manifest.json``.
        codes: those met before, read and added to.

    Raises:
        CorruptArtifact: the text is no manifest; the message names the field.
    """
    return from_json(codes.load(text), codes)


def load(text: str) -> dict[str, JSON]:
    """The JSON object in the text of a ``manifest.json``.

    Raises:
        CorruptArtifact: there is none.
    """
    try:
        data = pydantic_core.from_json(text, allow_inf_nan=False)  # three times as fast as json
    except ValueError as error:
        raise CorruptArtifact(f"manifest.json is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise CorruptArtifact("manifest.json is no JSON object")
    return data


def from_json(data: dict[str, Any], codes: Codes) -> Manifest:
    """The manifest in a JSON object, whose parts it takes over; see ``parse``."""
    for name, kind in FIELDS.items():
        if not isinstance(data.get(name), kind):
            found = repr(data[name])[:40] if name in data else "missing"
            raise CorruptArtifact(f"manifest.json: {name} is {found}, not a {kind.__name__}")
    code = data["code"]
    if not isinstance(code.get("digest"), str) or not isinstance(code.get("parts"), dict):
        raise CorruptArtifact("manifest.json: code needs a digest and parts")
    data["code"] = codes.shared(code)
    data["outputs"] = {name: _output(name, output) for name, output in data["outputs"].items()}
    for name, entry in data["inputs"].items():
        if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
            raise CorruptArtifact(f"manifest.json: inputs.{name} has no digest")
    return Manifest(**{name: data[name] for name in FIELDS})


def _output(name: str, data: JSON) -> Output:
    if not isinstance(data, dict):
        raise CorruptArtifact(f"manifest.json: outputs.{name} is {data!r}, not a dict")
    for field_name, kind in OUTPUT_FIELDS.items():
        if not isinstance(data.get(field_name), kind):
            raise CorruptArtifact(f"manifest.json: outputs.{name}.{field_name} is no {kind.__name__}")
    files = data["files"]
    if not files:
        raise CorruptArtifact(f"manifest.json: outputs.{name} has no files")
    for path, size_bytes in files.items():
        # These are opened and removed: a path that leads out of its artifact is not to be believed.
        if not isinstance(size_bytes, int) or not _NOT_INSIDE.isdisjoint(path.split("/")):
            raise CorruptArtifact(f"manifest.json: outputs.{name} has a bad file {path!r}")
    return Output(data["digest"], files, data["evicted"], tuple(data["superseded"]))
