"""Tests of ``artifacts.store.local``, as the contract of stores has it."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts import files
from artifacts.errors import ForeignStore, MissingArtifact, StorageFull
from artifacts.identity.digests import digest_output
from artifacts.store.local import LocalStore
from artifacts.store.manifest import Output
from tests.toy_artifacts import KEY, STAGE, digest, manifest, publish, write_draft

OTHER = "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def rewrite_manifest(store: LocalStore, change: Callable[[dict], None]) -> None:
    path = store.folder(STAGE, KEY) / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


# Opening


def test_reading_an_absent_store_finds_nothing_and_creates_nothing(store: LocalStore) -> None:
    assert store.get(STAGE, KEY) is None
    assert list(store.manifests()) == []
    assert store.running() == []
    assert store.gc(set, dry_run=False) == []
    assert not store.root.exists()


def test_first_write_creates_the_marker(store: LocalStore) -> None:
    publish(store)
    assert json.loads((store.root / "store.json").read_text()) == {"format": "w2s-store", "version": 1}


def test_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ForeignStore, match=r"no store\.json, but 'thesis\.tex'; choose an empty"):
        LocalStore(tmp_path)


def test_store_that_another_process_makes_meanwhile_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_text, absent = files.read_text, []

    def made_after_the_first_look(path: Path) -> str:
        if not absent:
            absent.append(path)
            path.write_text('{"format": "w2s-store", "version": 1}')
            raise FileNotFoundError(path)
        return read_text(path)

    monkeypatch.setattr(files, "read_text", made_after_the_first_look)
    LocalStore(tmp_path)
    assert absent == [tmp_path / "store.json"]


def test_store_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"format": "w2s-store", "version": 2}')
    with pytest.raises(ForeignStore, match='"version": 2}, but this w2s reads w2s-store version 1'):
        LocalStore(tmp_path)


def test_unreadable_marker_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text("[]")
    with pytest.raises(ForeignStore):
        LocalStore(tmp_path)


def test_file_in_place_of_the_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(ForeignStore, match="is a file"):
        LocalStore(tmp_path / "store")


def test_store_whose_creation_was_killed_opens(tmp_path: Path) -> None:
    (tmp_path / f"{files.TEMPORARY}123").touch()
    publish(LocalStore(tmp_path))


# Publishing and reading


def test_published_manifest_is_read_back_whole(store: LocalStore) -> None:
    assert publish(store) == manifest()
    assert LocalStore(store.root).get(STAGE, KEY) == manifest()


def test_output_path_is_where_the_files_lie(store: LocalStore) -> None:
    publish(store)
    assert (store.output_path(STAGE, KEY, "model") / "weights.bin").read_text() == "weights"


def test_output_path_of_an_absent_artifact_is_an_error(store: LocalStore) -> None:
    with pytest.raises(MissingArtifact, match="model is absent; run the grid again"):
        store.output_path(STAGE, KEY, "model")


def test_draft_is_removed_when_its_block_fails(store: LocalStore) -> None:
    with pytest.raises(ZeroDivisionError), store.draft(STAGE, KEY):
        raise ZeroDivisionError
    assert files.names(store.root / STAGE) == []
    assert store.get(STAGE, KEY) is None


def test_full_device_in_a_draft_is_one_line(store: LocalStore) -> None:
    with pytest.raises(StorageFull, match="no space left at"), store.draft(STAGE, KEY):
        raise RuntimeError("No space left on device (os error 28)")
    assert files.names(store.root / STAGE) == []


def test_output_that_was_not_written_is_refused(store: LocalStore) -> None:
    with store.draft(STAGE, KEY) as draft, pytest.raises(ValueError, match=r"model/config\.json: missing"):
        store.publish(draft, manifest())


def test_first_published_stands(store: LocalStore) -> None:
    publish(store, weights="first")
    assert publish(store, weights="other") == manifest(weights="first")
    assert (store.output_path(STAGE, KEY, "model") / "weights.bin").read_text() == "first"
    assert files.names(store.root / STAGE) == [KEY]


def test_manifests_yields_every_artifact(store: LocalStore) -> None:
    publish(store)
    publish(store, key=OTHER)
    assert [found.key for found in store.manifests()] == [KEY, OTHER]


def test_manifests_passes_over_those_that_are_known(store: LocalStore) -> None:
    publish(store)
    publish(store, key=OTHER)
    assert [found.key for found in store.manifests(besides={(STAGE, KEY)})] == [OTHER]


def test_manifests_of_one_code_share_it(store: LocalStore) -> None:
    publish(store)
    publish(store, key=OTHER)
    first, second = store.manifests()
    assert first.code is second.code


def test_seen_is_the_same_until_the_manifest_is_another(store: LocalStore) -> None:
    assert store.seen(STAGE, KEY) is None
    publish(store)
    seen = store.seen(STAGE, KEY)
    assert seen is not None
    assert store.seen(STAGE, KEY) == seen
    store.evict(STAGE, KEY, "model")
    assert store.seen(STAGE, KEY) not in (None, seen)
    store.gc(set, dry_run=False)
    assert store.seen(STAGE, KEY) is None


# Broken artifacts


def truncate(store: LocalStore) -> None:
    (store.folder(STAGE, KEY) / "model" / "weights.bin").write_text("wei")


def delete_file(store: LocalStore) -> None:
    (store.folder(STAGE, KEY) / "model" / "weights.bin").unlink()


def delete_manifest(store: LocalStore) -> None:
    (store.folder(STAGE, KEY) / "manifest.json").unlink()


def garble_manifest(store: LocalStore) -> None:
    (store.folder(STAGE, KEY) / "manifest.json").write_bytes(b"\xff{")


def cut_manifest(store: LocalStore) -> None:
    (store.folder(STAGE, KEY) / "manifest.json").write_text('{"key": ')


def take_field(store: LocalStore) -> None:
    rewrite_manifest(store, lambda data: data.pop("params"))


def take_code(store: LocalStore) -> None:
    rewrite_manifest(store, lambda data: data["code"].pop("parts"))


def take_output_field(store: LocalStore) -> None:
    rewrite_manifest(store, lambda data: data["outputs"]["model"].pop("evicted"))


def take_input_digest(store: LocalStore) -> None:
    rewrite_manifest(store, lambda data: data["inputs"]["train"].pop("digest"))


def point_outside(store: LocalStore) -> None:
    rewrite_manifest(store, lambda data: data["outputs"]["model"].update(files={"../../x": 1}))


def point_to_root(store: LocalStore) -> None:
    rewrite_manifest(store, lambda data: data["outputs"]["model"].update(files={"/etc/passwd": 1}))


def take_all_files(store: LocalStore) -> None:
    rewrite_manifest(store, lambda data: data["outputs"]["model"].update(files={}))


def swap_key(store: LocalStore) -> None:
    rewrite_manifest(store, lambda data: data.update(key=OTHER))


BREAKS = {
    truncate: "model/weights.bin: 3 of 7 bytes",
    delete_file: "model/weights.bin: missing",
    delete_manifest: "manifest.json is missing",
    garble_manifest: "manifest.json is no text",
    cut_manifest: "manifest.json is no JSON",
    take_field: "manifest.json: params is missing, not a dict",
    take_code: "manifest.json: code needs a digest and parts",
    take_output_field: "manifest.json: outputs.model.evicted is no bool",
    take_input_digest: "manifest.json: inputs.train has no digest",
    point_outside: "manifest.json: outputs.model has a bad file '../../x'",
    point_to_root: "manifest.json: outputs.model has a bad file '/etc/passwd'",
    take_all_files: "manifest.json: outputs.model has no files",
    swap_key: f"manifest.json is that of {STAGE} {OTHER[:12]}",
}

each_break = pytest.mark.parametrize("break_it", BREAKS, ids=lambda function: function.__name__)


@each_break
def test_broken_artifact_counts_as_absent_and_says_why(
    store: LocalStore, break_it: Callable[[LocalStore], None]
) -> None:
    publish(store)
    break_it(store)
    assert store.get(STAGE, KEY) is None
    assert (store.problem(STAGE, KEY) or "").startswith(BREAKS[break_it])


@each_break
def test_broken_artifact_is_replaced_without_help(store: LocalStore, break_it: Callable[[LocalStore], None]) -> None:
    publish(store)
    break_it(store)
    assert publish(store, weights="anew") == manifest(weights="anew")
    assert store.get(STAGE, KEY) == manifest(weights="anew")


@each_break
def test_gc_removes_a_broken_artifact(store: LocalStore, break_it: Callable[[LocalStore], None]) -> None:
    publish(store)
    break_it(store)
    store.gc(lambda: {(STAGE, KEY)}, dry_run=False)
    assert not store.folder(STAGE, KEY).exists()


def test_broken_artifact_is_warned_of_once(store: LocalStore, caplog: pytest.LogCaptureFixture) -> None:
    publish(store)
    truncate(store)
    with caplog.at_level(logging.WARNING, logger="w2s.store"):
        store.get(STAGE, KEY)
        store.get(STAGE, KEY)
    assert [record.getMessage() for record in caplog.records] == [
        f"{STAGE} {KEY[:12]} is broken and counts as absent: model/weights.bin: 3 of 7 bytes"
    ]


def test_whole_artifact_has_no_problem(store: LocalStore) -> None:
    publish(store)
    assert store.problem(STAGE, KEY) is None


def test_manifests_passes_over_what_it_cannot_read(store: LocalStore) -> None:
    publish(store)
    publish(store, key=OTHER)
    cut_manifest(store)
    assert [found.key for found in store.manifests()] == [OTHER]


def test_manifests_yields_an_artifact_without_its_files(store: LocalStore) -> None:
    publish(store)
    delete_file(store)
    assert [found.key for found in store.manifests()] == [KEY]


# Eviction


def test_evicted_artifact_still_counts_as_done(store: LocalStore) -> None:
    publish(store)
    store.evict(STAGE, KEY, "model")
    found = store.get(STAGE, KEY)
    assert found is not None
    assert found.outputs["model"].evicted
    assert not (store.folder(STAGE, KEY) / "model").exists()


def test_output_path_of_an_evicted_output_is_an_error(store: LocalStore) -> None:
    publish(store)
    store.evict(STAGE, KEY, "model")
    with pytest.raises(MissingArtifact, match="model is evicted"):
        store.output_path(STAGE, KEY, "model")


def test_evicting_what_is_absent_is_an_error(store: LocalStore) -> None:
    with pytest.raises(MissingArtifact, match="nothing to evict"):
        store.evict(STAGE, KEY, "model")


def test_evicting_twice_is_fine(store: LocalStore) -> None:
    publish(store)
    store.evict(STAGE, KEY, "model")
    store.evict(STAGE, KEY, "model")
    assert store.get(STAGE, KEY) is not None


def test_eviction_while_an_artifact_is_looked_at_does_not_make_it_broken(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store)
    real_size_bytes = files.size_bytes

    def size_bytes(path: Path | str) -> int | None:
        monkeypatch.setattr(files, "size_bytes", real_size_bytes)
        LocalStore(store.root).evict(STAGE, KEY, "model")
        return real_size_bytes(path)

    monkeypatch.setattr(files, "size_bytes", size_bytes)
    assert store.get(STAGE, KEY) is not None


def test_publishing_brings_evicted_files_back(store: LocalStore) -> None:
    publish(store)
    store.evict(STAGE, KEY, "model")
    assert publish(store) == manifest()
    assert (store.output_path(STAGE, KEY, "model") / "weights.bin").read_text() == "weights"
    assert files.names(store.root / STAGE) == [KEY]


def test_other_bytes_supersede_the_evicted_ones(store: LocalStore) -> None:
    publish(store, weights="first")
    store.evict(STAGE, KEY, "model")
    again = publish(store, weights="second")
    assert again.outputs["model"].digest == digest("second")
    assert again.outputs["model"].superseded == (digest("first"),)
    assert store.get(STAGE, KEY) == again
    assert (store.folder(STAGE, KEY) / "side" / "curve.txt").read_text() == "curve of second"


def test_superseded_digests_accumulate_until_they_return(store: LocalStore) -> None:
    for weights in ("first", "second", "first"):
        again = publish(store, weights=weights)
        store.evict(STAGE, KEY, "model")
    assert again.outputs["model"].superseded == (digest("second"),)


def test_output_that_was_not_evicted_stands(store: LocalStore) -> None:
    def publish_two(rows: str) -> None:
        made = manifest(weights=rows)
        outputs = {**made.outputs, "rows": Output(digest(rows), {"rows.txt": len(rows)})}
        with store.draft(STAGE, KEY) as draft:
            write_draft(draft, rows)
            (draft / "rows.txt").write_text(rows)
            store.publish(draft, dataclasses.replace(made, outputs=outputs))

    publish_two("first")
    store.evict(STAGE, KEY, "model")
    publish_two("second")
    assert store.output_path(STAGE, KEY, "rows").read_text() == "first"
    assert (store.output_path(STAGE, KEY, "model") / "weights.bin").read_text() == "second"
    assert store.get(STAGE, KEY).outputs["rows"].digest == digest("first")


# Verify


def publish_table(store: LocalStore, values: list[int]) -> Path:
    with store.draft(STAGE, KEY) as draft:
        path = draft / "rows.parquet"
        pq.write_table(pa.table({"x": values}), path)
        output = Output(digest_output(path), {"rows.parquet": path.stat().st_size})
        store.publish(draft, dataclasses.replace(manifest(), outputs={"rows": output}, side={}))
    return store.output_path(STAGE, KEY, "rows")


def test_verify_finds_nothing_in_a_whole_store(store: LocalStore) -> None:
    publish_table(store, [1, 2, 3])
    assert list(store.verify()) == []


def test_verify_finds_other_values_of_the_same_size(store: LocalStore, tmp_path: Path) -> None:
    path = publish_table(store, [1, 2, 3])
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1, 2, 4]}), other)
    assert other.stat().st_size == path.stat().st_size
    path.write_bytes(other.read_bytes())
    (problem,) = store.verify()
    assert problem.what.startswith("rows: digest ")


def test_verify_finds_a_table_that_cannot_be_read(store: LocalStore) -> None:
    path = publish_table(store, [1, 2, 3])
    path.write_bytes(b"\0" * path.stat().st_size)
    (problem,) = store.verify()
    assert "is no readable Parquet file" in problem.what


def test_verify_finds_broken_artifacts(store: LocalStore) -> None:
    publish(store)
    truncate(store)
    assert [problem.what for problem in store.verify()] == ["model/weights.bin: 3 of 7 bytes"]


def test_verify_passes_over_evicted_outputs(store: LocalStore) -> None:
    publish(store)
    store.evict(STAGE, KEY, "model")
    assert list(store.verify()) == []


# Garbage


def test_gc_removes_what_is_not_kept(store: LocalStore) -> None:
    publish(store)
    publish(store, key=OTHER)
    (removed,) = store.gc(lambda: {(STAGE, OTHER)}, dry_run=False)
    assert removed.what == f"{STAGE}/{KEY}"
    assert removed.size_bytes > len("weights")
    assert [found.key for found in store.manifests()] == [OTHER]
    assert files.names(store.root / "broken") == []


def test_gc_dry_run_says_the_same_and_removes_nothing(store: LocalStore) -> None:
    publish(store)
    publish(store, key=OTHER)
    truncate(store)
    publish(store)
    planned = store.gc(set, dry_run=True)
    assert [found.key for found in store.manifests()] == [KEY, OTHER]
    assert store.gc(set, dry_run=False) == planned
    assert store.gc(set, dry_run=False) == []


def test_gc_leaves_what_is_claimed(store: LocalStore) -> None:
    publish(store)
    with store.claim(STAGE, KEY), store.draft(STAGE, KEY) as draft:
        assert store.gc(set, dry_run=True) == []
        assert store.gc(set, dry_run=False) == []
        assert draft.exists()
    assert store.get(STAGE, KEY) is not None


def test_gc_removes_drafts_that_nobody_works_on(store: LocalStore) -> None:
    with store.draft(STAGE, KEY) as draft:
        write_draft(draft)
        (removed,) = store.gc(set, dry_run=False)
        assert not draft.exists()
    assert removed.what == f"{STAGE}/{draft.name}"


def test_gc_removes_what_an_interrupted_eviction_left(store: LocalStore) -> None:
    publish(store)
    store.evict(STAGE, KEY, "model")
    place = store.folder(STAGE, KEY)
    (place / "model").mkdir()
    (place / "model" / "weights.bin").write_text("weights")
    (place / f"{files.TEMPORARY}1").write_text("half a manif")
    removed = store.gc(lambda: {(STAGE, KEY)}, dry_run=False)
    assert [item.what for item in removed] == [
        f"{STAGE}/{KEY}/model",
        f"{STAGE}/{KEY}/{files.TEMPORARY}1",
    ]
    assert files.names(place) == ["manifest.json", "side"]


def test_gc_removes_lock_files_that_nobody_holds(store: LocalStore) -> None:
    with store.claim(STAGE, OTHER):
        (store.root / "claims" / f"{STAGE}-{KEY}.lock").touch()
        removed = store.gc(set, dry_run=False)
        assert files.names(store.root / "claims") == [f"{STAGE}-{OTHER}.lock"]
    assert [item.what for item in removed] == [f"claims/{STAGE}-{KEY}.lock"]
