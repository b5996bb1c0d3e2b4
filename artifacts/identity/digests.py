"""Digests of content: tables by schema and values, weights by tensors, external inputs by bytes.

An output's digest does not depend on how its values are laid out in files; nothing here knows the
store. Keys are made in ``keys``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from artifacts import files
from artifacts.errors import CorruptArtifact, UsageError
from artifacts.identity.keys import JSON, json_digest

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 1 << 20
BATCH_ROWS = 1 << 16

VOLATILE = frozenset(("transformers_version", "_name_or_path"))
"""Entries of a model's JSON files that say who wrote them, not what the model is."""

SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.safetensors$)")
INDEX = ".safetensors.index.json"
"""Which shard holds which tensor; its content follows from the shards."""

MODEL_FILES = frozenset((".json", ".safetensors", ".txt", ".model", ".tiktoken", ".bpe"))
"""Suffixes of what a model is loaded from: config, weights, tokenizer. Pickled weights never are."""

SETTLED_S = 2.0
"""A file younger than this may change again without a new mtime, so its digest is not cached."""


def digest_output(path: Path) -> str:
    """Digest of one output of a stage.

    A Parquet file, or a folder of Parquet shards, counts by column names, types and values; in any
    other folder weights count by tensor names, types, shapes and bytes, JSON by value, and other
    files by bytes.

    Raises:
        CorruptArtifact: a file is not what its suffix says.
    """
    if not path.is_dir():
        return _tables([path]) if path.suffix == ".parquet" else _folder(path.parent, [path])
    found = sorted(file for file in path.rglob("*") if file.is_file())
    if found and all(file.suffix == ".parquet" for file in found):
        return _tables(found)
    return _folder(path, found)


# Tables


def _tables(paths: list[Path]) -> str:
    """Digest of the rows of all files together, which have one schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: list[_Column] | None = None
    schema: JSON = None
    for path in paths:
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                found = [[field.name, _type(field.type)] for field in file.schema_arrow]
                if columns is None:
                    schema = found
                    columns = [_Column() for _ in found]
                elif found != schema:
                    raise CorruptArtifact(f"{path}: its columns differ from those of {paths[0]}")
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    for column, array in zip(columns, batch.columns, strict=True):
                        column.update(array)
        except (pa.ArrowException, OSError) as error:
            raise CorruptArtifact(f"{path} is no readable Parquet file: {error}") from error
    return json_digest({"schema": schema, "columns": [c.digest() for c in columns or []]})


def _type(kind: pa.DataType) -> JSON:
    """What counts of a type: not how its values are encoded, nor how wide offsets into them are."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _type(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind):
        return "string"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "binary"
    if types.is_list(kind) or types.is_large_list(kind):
        return ["list", _type(kind.value_type)]
    if types.is_struct(kind):
        return ["struct", [[field.name, _type(field.type)] for field in kind]]
    if types.is_null(kind) or _is_fixed_width(kind):
        return str(kind)
    raise TypeError(f"a column of type {kind} has no digest; use numbers, text, lists or structs")


def _is_fixed_width(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_temporal(kind)
        or types.is_decimal(kind)
        or types.is_fixed_size_binary(kind)
    )


class _Column:
    """Digest of a column, or of what is nested in one, that arrives in chunks.

    Three streams, each the same however the values are cut into chunks: which values are there;
    the lengths of those that have one; their bytes, or the columns nested in them.
    """

    def __init__(self) -> None:
        self._is_valid = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._bytes = hashlib.sha256()
        self._nested: list[_Column] = []

    def update(self, array: pa.Array) -> None:
        """Add a chunk."""
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import types

        if types.is_dictionary(array.type):
            array = array.dictionary_decode()
        kind = array.type
        self._is_valid.update(_fixed_width_bytes(array.is_valid().cast(pa.uint8())))
        if types.is_null(kind):
            return
        # The slots of missing values hold anything.
        array = array.drop_null()
        if types.is_list(kind) or types.is_large_list(kind):
            self._lengths.update(_fixed_width_bytes(pc.list_value_length(array).cast(pa.int64())))
            self._update_nested([array.flatten()])
        elif types.is_struct(kind):
            self._update_nested(array.flatten())
        elif _is_fixed_width(kind):
            is_bits = types.is_boolean(kind)
            self._bytes.update(_fixed_width_bytes(array.cast(pa.uint8()) if is_bits else array))
        else:
            self._lengths.update(_fixed_width_bytes(pc.binary_length(array).cast(pa.int64())))
            self._bytes.update(_variable_width_bytes(array))

    def _update_nested(self, arrays: list[pa.Array]) -> None:
        if not self._nested:
            self._nested = [_Column() for _ in arrays]
        for column, array in zip(self._nested, arrays, strict=True):
            column.update(array)

    def digest(self) -> JSON:
        """What was added so far."""
        streams = (self._is_valid, self._lengths, self._bytes)
        return [[s.hexdigest() for s in streams], [column.digest() for column in self._nested]]


def _fixed_width_bytes(array: pa.Array) -> memoryview:
    width = array.type.byte_width
    return _slice(array.buffers()[1], array.offset * width, (array.offset + len(array)) * width)


def _variable_width_bytes(array: pa.Array) -> memoryview:
    """The bytes of all strings, one behind the other."""
    from pyarrow import types

    is_large = types.is_large_string(array.type) or types.is_large_binary(array.type)
    _, offsets, data = array.buffers()
    if not len(array):
        return memoryview(b"")
    ends = memoryview(offsets).cast("B").cast("q" if is_large else "i")
    return _slice(data, ends[array.offset], ends[array.offset + len(array)])


def _slice(buffer: pa.Buffer | None, begin: int, end: int) -> memoryview:
    return memoryview(buffer if buffer is not None and begin < end else b"").cast("B")[begin:end]


# Weights


def _folder(root: Path, paths: Iterable[Path]) -> str:
    entries: dict[str, JSON] = {}
    for path in paths:
        name = path.relative_to(root).as_posix()
        if path.suffix == ".safetensors":
            tensors = entries.setdefault(SHARD.sub("", name), {})
            for tensor, entry in _tensors(path):
                if tensor in tensors:
                    raise CorruptArtifact(f"{path}: tensor {tensor!r} is in another shard too")
                tensors[tensor] = entry
        elif path.suffix == ".json":
            if not name.endswith(INDEX):
                entries[name] = _json_file(path)
        else:
            entries[name] = _sha256(path)
    return json_digest(entries)


def _tensors(path: Path) -> Iterator[tuple[str, JSON]]:
    """Name of each tensor and ``[dtype, shape, sha256]``.

    The format: https://github.com/huggingface/safetensors#format
    """
    with path.open("rb") as file:
        try:
            header_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(header_bytes, path.stat().st_size)))
            header.pop("__metadata__", None)
            for name, entry in header.items():
                begin, end = entry["data_offsets"]
                file.seek(8 + header_bytes + begin)
                yield name, [entry["dtype"], entry["shape"], _hash(file, end - begin)]
        except (ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
            raise CorruptArtifact(f"{path} is no whole safetensors file: {error}") from error


def _json_file(path: Path) -> JSON:
    try:
        return ["json", json_digest(_without_volatile(json.loads(path.read_bytes())))]
    except ValueError:
        # No JSON, or one with infinities, which some configs have.
        return _sha256(path)


def _without_volatile(value: JSON) -> JSON:
    if isinstance(value, dict):
        # The vocabulary of a tokenizer may have words of these names; their values are numbers.
        return {
            name: _without_volatile(item)
            for name, item in value.items()
            if name not in VOLATILE or isinstance(item, int)
        }
    return [_without_volatile(item) for item in value] if isinstance(value, list) else value


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return _hash(file, os.fstat(file.fileno()).st_size)


def _hash(file: BinaryIO, n_bytes: int) -> str:
    digest = hashlib.sha256()
    while n_bytes > 0:
        block = file.read(min(n_bytes, BLOCK_BYTES))
        if not block:
            raise EOFError("it ends too early")
        digest.update(block)
        n_bytes -= len(block)
    return digest.hexdigest()


# External inputs


class ExternalDigests:
    """Digests of data files and model folders outside the store, as this object first saw them.

    Args:
        cache_path: JSON file of what was hashed before: a file with the same path, size, mtime and
            inode is not read again.
        rehash: read every file, whatever the cache says.
    """

    def __init__(self, cache_path: Path, *, rehash: bool = False) -> None:
        self._cache_path = cache_path
        self._rehash = rehash
        self._seen: dict[Path, str] = {}

    def digest(self, path: Path) -> str:
        """Digest of a file by its bytes; of a folder by those files that a model is loaded from.

        Raises:
            UsageError: missing, not readable, a folder without a model, or changing all the time.
        """
        if path not in self._seen:
            try:
                if path.is_dir():
                    names = [n for n in files.names(path) if Path(n).suffix in MODEL_FILES]
                    found = {name: path / name for name in names if (path / name).is_file()}
                    if "config.json" not in found:
                        raise UsageError(f"{path} is no folder of a model: it has no config.json")
                    hashed = self._hash_files(list(found.values()))
                    self._seen[path] = json_digest({n: hashed[p] for n, p in found.items()})
                else:
                    self._seen[path] = self._hash_files([path])[path]
            except OSError as error:
                raise UsageError(f"cannot read the input {path}: {error.strerror}") from error
        return self._seen[path]

    def _hash_files(self, paths: list[Path]) -> dict[Path, str]:
        cache = self._read_cache()
        hashed: dict[Path, str] = {}
        new: dict[str, dict[str, Any]] = {}
        for path in paths:
            now = _identity(path)
            known = cache.get(str(path.absolute()), {})
            if not self._rehash and {**known, **now} == known:
                hashed[path] = known["sha256"]
                continue
            hashed[path] = _sha256(path)
            if _identity(path) != now:
                raise UsageError(f"{path} changed while it was read; run the same command again")
            if time.time_ns() - now["mtime_ns"] > SETTLED_S * 1e9:
                new[str(path.absolute())] = {**now, "sha256": hashed[path]}
        if new:
            files.make_folder(self._cache_path.parent)
            # What another process writes between these lines is lost, and hashed again.
            files.write_text(self._cache_path, json.dumps({**self._read_cache(), **new}, indent=1))
        return hashed

    def _read_cache(self) -> dict[str, dict[str, Any]]:
        try:
            cache = json.loads(files.read_text(self._cache_path))
        except (FileNotFoundError, ValueError):
            return {}
        return cache if isinstance(cache, dict) else {}


def _identity(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}
