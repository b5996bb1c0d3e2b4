"""Tests of ``artifacts.store.s3``: a store that several writers share. Claims are in ``test_s3_claims``."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.errors import CorruptArtifact, ForeignStore, MissingArtifact, UsageError
from artifacts.identity.digests import digest_output
from artifacts.store.contract import Store
from artifacts.store.grids import Grids
from artifacts.store.manifest import Manifest
from artifacts.store.s3.objects import Objects
from artifacts.store.s3.store import S3Store
from tests.s3_server import Service
from tests.toy_artifacts import KEY, STAGE, manifest, run_of, write_draft

OTHER = "b" * 64


@pytest.fixture
def store(s3_url: str, tmp_path: Path) -> S3Store:
    return S3Store(s3_url, tmp_path / "cache")


@pytest.fixture
def elsewhere(s3_url: str, tmp_path: Path) -> S3Store:
    """The same store, from another machine."""
    return S3Store(s3_url, tmp_path / "other-cache")


@pytest.fixture
def objects(s3_url: str, store: S3Store) -> Objects:
    """What lies behind the store."""
    return Objects(s3_url)


def publish(store: Store, weights: str = "weights", key: str = KEY) -> Manifest:
    """Publish a toy artifact with true digests."""
    with store.draft(STAGE, key) as draft:
        write_draft(draft, weights)
        made = manifest(key, weights)
        model = dataclasses.replace(made.outputs["model"], digest=digest_output(draft / "model"))
        return store.publish(draft, dataclasses.replace(made, outputs={"model": model}))


def weights_of(store: Store, key: str = KEY) -> str:
    return (store.output_path(STAGE, key, "model") / "weights.bin").read_text()


def paths(objects: Objects, prefix: str = f"{STAGE}/{KEY}/") -> list[str]:
    return [entry.path.removeprefix(prefix) for entry in objects.entries(prefix)]


def payload(objects: Objects, file: str = "model/weights.bin") -> str:
    """Path of a file of the artifact's only attempt."""
    [path] = [path for path in paths(objects) if path.endswith(file)]
    return f"{STAGE}/{KEY}/{path}"


# Opening


def test_absent_store_reads_as_empty_and_is_not_created(store: S3Store, objects: Objects) -> None:
    assert store.get(STAGE, KEY) is None
    assert list(store.manifests()) == []
    assert store.running() == []
    assert store.gc(set, dry_run=False) == []
    assert paths(objects, "") == []


def test_prefix_with_something_else_is_neither_written_nor_cleaned(store: S3Store, objects: Objects) -> None:
    objects.overwrite("photos/2026/beach.jpg", b"beach")
    with pytest.raises(ForeignStore, match=r"no store\.json, but 'photos/2026/beach\.jpg'; choose an empty"):
        publish(store)
    assert store.gc(set, dry_run=False) == []
    assert paths(objects, "") == ["photos/2026/beach.jpg"]


def test_store_of_another_version_is_refused(s3_url: str, objects: Objects, tmp_path: Path) -> None:
    objects.overwrite("store.json", b'{"format": "w2s-store", "version": 2}')
    with pytest.raises(ForeignStore, match="but this w2s reads w2s-store version 1"):
        S3Store(s3_url, tmp_path)


# Publishing and reading


def test_published_manifest_is_read_back_elsewhere(store: S3Store, elsewhere: S3Store) -> None:
    made = publish(store)
    assert elsewhere.get(STAGE, KEY) == made
    assert list(elsewhere.manifests()) == [made]
    assert weights_of(elsewhere) == "weights"


def test_output_that_was_not_written_is_refused(store: S3Store) -> None:
    with store.draft(STAGE, KEY) as draft, pytest.raises(ValueError, match=r"model/config\.json: missing"):
        store.publish(draft, manifest())


def test_first_published_stands_and_the_loser_leaves_nothing(
    store: S3Store, elsewhere: S3Store, objects: Objects
) -> None:
    first = publish(store, "first")
    assert publish(elsewhere, "other") == first
    assert weights_of(elsewhere) == "first"
    assert len(paths(objects)) == 4


def test_writers_at_once_all_get_what_stands(s3_url: str, objects: Objects, tmp_path: Path) -> None:
    together = threading.Barrier(4)
    got: list[Manifest] = []

    def write(weights: str) -> None:
        writer = S3Store(s3_url, tmp_path / weights)
        real_write = writer._objects.write

        def write_together(path: str, content: bytes, *, over: str | None) -> str | None:
            if path.endswith("manifest.json"):
                together.wait()
            return real_write(path, content, over=over)

        writer._objects.write = write_together  # type: ignore[method-assign]
        got.append(publish(writer, weights))

    writers = [threading.Thread(target=write, args=(weights,)) for weights in ("a", "b", "c", "d")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stands = S3Store(s3_url, tmp_path / "reader").get(STAGE, KEY)
    assert got == [stands] * 4
    assert len(paths(objects)) == 4, "losers leave nothing"


def test_publisher_whose_answer_was_lost_keeps_what_it_wrote(
    store: S3Store, objects: Objects, s3_service: Service
) -> None:
    s3_service.lost.append("manifest.json")
    made = publish(store)
    assert not s3_service.lost
    assert store.get(STAGE, KEY) == made
    assert len(paths(objects)) == 4


def test_manifest_write_is_conditional_on_absence(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the service in these tests does with it: the header that decides is sent."""
    sent: list[str | None] = []
    store._objects._client.meta.events.register(
        "before-send.s3.PutObject",
        lambda request, **_: (
            sent.append(request.headers.get("If-None-Match")) if request.url.endswith("manifest.json") else None
        ),
        unique_id="test",
    )
    publish(store)
    store._objects._client.meta.events.unregister("before-send.s3.PutObject", unique_id="test")
    assert [header if isinstance(header, str) else header.decode() for header in sent if header] == ["*"]


# Broken artifacts


def truncate(objects: Objects) -> None:
    objects.overwrite(payload(objects), b"wei")


def delete_file(objects: Objects) -> None:
    objects.remove([payload(objects)])


def garble_manifest(objects: Objects) -> None:
    objects.overwrite(f"{STAGE}/{KEY}/manifest.json", b"\xff{")


def cut_manifest(objects: Objects) -> None:
    objects.overwrite(f"{STAGE}/{KEY}/manifest.json", b'{"key": ')


def rewrite(objects: Objects, change: Callable[[dict], None]) -> None:
    path = f"{STAGE}/{KEY}/manifest.json"
    read = objects.read(path)
    assert read is not None
    data = json.loads(read.content)
    change(data)
    objects.overwrite(path, json.dumps(data).encode())


def take_attempts(objects: Objects) -> None:
    rewrite(objects, lambda data: data.pop("attempts"))


def point_outside(objects: Objects) -> None:
    rewrite(objects, lambda data: data.update(attempts={"model": "../../../x", "side": "a"}))


BREAKS = {
    truncate: "model/weights.bin: 3 of 7 bytes",
    delete_file: "model/weights.bin: missing",
    garble_manifest: "manifest.json is no text",
    cut_manifest: "manifest.json is no JSON",
    take_attempts: "manifest.json: attempts is no dict",
    point_outside: "manifest.json: attempts.model is '../../../x'",
}

each_break = pytest.mark.parametrize("break_it", BREAKS, ids=lambda function: function.__name__)


@each_break
def test_broken_artifact_counts_as_absent_and_says_why(
    store: S3Store, objects: Objects, break_it: Callable[[Objects], None]
) -> None:
    publish(store)
    break_it(objects)
    for reader in (store, store.listing()):
        assert reader.get(STAGE, KEY) is None
        assert (reader.problem(STAGE, KEY) or "").startswith(BREAKS[break_it])


@each_break
def test_broken_artifact_is_replaced_without_help(
    store: S3Store, objects: Objects, break_it: Callable[[Objects], None]
) -> None:
    publish(store)
    break_it(objects)
    made = publish(store, "anew")
    assert store.get(STAGE, KEY) == made
    assert weights_of(store) == "anew"


@each_break
def test_gc_removes_a_broken_artifact(store: S3Store, objects: Objects, break_it: Callable[[Objects], None]) -> None:
    publish(store)
    break_it(objects)
    store.gc(lambda: {(STAGE, KEY)}, dry_run=False)
    assert paths(objects) == []


# The cache of what was read


def test_output_is_fetched_once(store: S3Store, elsewhere: S3Store, objects: Objects) -> None:
    publish(store)
    weights_of(elsewhere)
    objects.overwrite(payload(objects), b"WEIGHTS")
    assert weights_of(elsewhere) == "weights"


def test_fetched_output_with_another_digest_is_refused(store: S3Store, elsewhere: S3Store, objects: Objects) -> None:
    publish(store)
    objects.overwrite(payload(objects), b"WEIGHTS")
    with pytest.raises(CorruptArtifact, match=r"model: digest \w+, expected \w+; delete manifest\.json there"):
        weights_of(elsewhere)


def test_cached_output_of_another_size_is_fetched_again(store: S3Store, elsewhere: S3Store) -> None:
    publish(store)
    (elsewhere.output_path(STAGE, KEY, "model") / "weights.bin").write_text("wei")
    assert weights_of(elsewhere) == "weights"


def test_what_was_published_here_need_not_be_fetched(store: S3Store, objects: Objects) -> None:
    publish(store)
    objects.overwrite(payload(objects), b"WEIGHTS")
    assert weights_of(store) == "weights"


def test_absent_output_is_an_error(store: S3Store) -> None:
    with pytest.raises(MissingArtifact, match="model is absent; run the grid again"):
        store.output_path(STAGE, KEY, "model")


# Eviction


def test_evicted_artifact_still_counts_as_done(store: S3Store, objects: Objects) -> None:
    publish(store)
    copy = store.output_path(STAGE, KEY, "model")
    store.evict(STAGE, KEY, "model")
    store.evict(STAGE, KEY, "model")
    found = store.get(STAGE, KEY)
    assert found is not None
    assert found.outputs["model"].evicted
    assert not [path for path in paths(objects) if "model" in path]
    assert not copy.exists()
    with pytest.raises(MissingArtifact, match="model is evicted"):
        store.output_path(STAGE, KEY, "model")


def test_evicting_what_is_absent_is_an_error(store: S3Store) -> None:
    with pytest.raises(MissingArtifact, match="nothing to evict"):
        store.evict(STAGE, KEY, "model")


def test_other_bytes_supersede_the_evicted_ones(store: S3Store, elsewhere: S3Store) -> None:
    first = publish(store, "first")
    store.evict(STAGE, KEY, "model")
    again = publish(elsewhere, "second")
    assert again.outputs["model"].superseded == (first.outputs["model"].digest,)
    assert store.get(STAGE, KEY) == again
    assert weights_of(store) == "second"


# Many at once


def keys(n: int) -> list[str]:
    return [f"{number:064x}" for number in range(n)]


def test_listing_is_complete_with_and_without_an_index(
    store: S3Store, elsewhere: S3Store, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifacts.store.s3.listing.N_MISSING", 3)
    made = [publish(store, key=key) for key in keys(3)]
    assert list(elsewhere.manifests()) == made
    assert paths(objects, "index/") == [f"{STAGE}.json.gz"]
    made.append(publish(store, key="f" * 64))
    assert list(elsewhere.manifests()) == made
    objects.overwrite(f"index/{STAGE}.json.gz", b"half")
    assert list(elsewhere.manifests()) == made


def test_listing_passes_over_what_is_known_and_sees_what_was_rewritten(store: S3Store) -> None:
    made = [publish(store, key=key) for key in keys(2)]
    before = store.listing()
    assert list(before.manifests(besides={(STAGE, made[0].key)})) == made[1:]
    assert before.seen(STAGE, made[0].key) == store.listing().seen(STAGE, made[0].key) is not None
    store.evict(STAGE, made[0].key, "model")
    assert before.seen(STAGE, made[0].key) != store.listing().seen(STAGE, made[0].key)


def test_listing_with_an_index_reads_no_manifest(
    store: S3Store, elsewhere: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifacts.store.s3.listing.N_MISSING", 3)
    made = [publish(store, key=key) for key in keys(3)]
    list(store.manifests())
    read: list[str] = []
    real_read = elsewhere._objects.read
    monkeypatch.setattr(elsewhere._objects, "read", lambda path: (read.append(path), real_read(path))[1])
    listing = elsewhere.listing()
    assert [listing.get(STAGE, key) for key in keys(3)] == made
    assert read == [f"index/{STAGE}.json.gz"]


def test_changed_manifest_is_not_taken_from_the_index(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifacts.store.s3.listing.N_MISSING", 1)
    publish(store)
    list(store.manifests())
    store.evict(STAGE, KEY, "model")
    found = store.listing().get(STAGE, KEY)
    assert found is not None
    assert found.outputs["model"].evicted


def test_listing_under_concurrent_publishes_and_listings_loses_nothing(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifacts.store.s3.listing.N_MISSING", 1)

    def work(name: str, mine: list[str]) -> None:
        writer = S3Store(s3_url, tmp_path / name)
        for key in mine:
            publish(writer, key=key)
            assert writer.listing().get(STAGE, key) is not None

    halves = {"a": keys(12)[:6], "b": keys(12)[6:]}
    writers = [threading.Thread(target=work, args=half) for half in halves.items()]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [found.key for found in S3Store(s3_url, tmp_path / "reader").manifests()] == keys(12)


def test_eviction_while_a_stage_is_listed_does_not_make_it_broken(store: S3Store, elsewhere: S3Store) -> None:
    publish(store)
    listing = store.listing()
    list(listing.manifests())
    elsewhere.evict(STAGE, KEY, "model")
    assert listing.get(STAGE, KEY) is not None


# Verify and garbage


def test_verify_finds_nothing_in_a_whole_store(store: S3Store) -> None:
    publish(store)
    assert list(store.verify()) == []


def test_verify_reads_the_service_and_not_the_cache(store: S3Store, objects: Objects) -> None:
    publish(store)
    objects.overwrite(payload(objects), b"WEIGHTS")
    (problem,) = store.verify()
    assert problem.what.startswith("model: digest ")


def test_gc_removes_what_is_not_kept_here_and_in_the_cache(store: S3Store, objects: Objects, tmp_path: Path) -> None:
    publish(store)
    publish(store, key=OTHER)
    planned = store.gc(lambda: {(STAGE, OTHER)}, dry_run=True)
    assert [found.key for found in store.manifests()] == [KEY, OTHER]
    assert store.gc(lambda: {(STAGE, OTHER)}, dry_run=False) == planned
    assert [removed.what.rpartition("/")[0] for removed in planned] == [STAGE, f"cache/{KEY}"]
    assert paths(objects) == []
    assert not (tmp_path / "cache" / STAGE / KEY).exists()
    assert store.gc(lambda: {(STAGE, OTHER)}, dry_run=False) == []


def test_gc_leaves_what_is_claimed(store: S3Store, elsewhere: S3Store) -> None:
    publish(store)
    with elsewhere.claim(STAGE, KEY), store.draft(STAGE, KEY) as draft:
        assert store.gc(set, dry_run=True) == []
        assert elsewhere.gc(set, dry_run=False) == []
        assert store.gc(set, dry_run=False) == []
        assert draft.exists()
    assert store.get(STAGE, KEY) is not None


def test_gc_removes_payloads_of_killed_attempts(store: S3Store, objects: Objects) -> None:
    publish(store)
    objects.overwrite(f"{STAGE}/{KEY}/attempts/killed/model/weights.bin", b"half")
    objects.overwrite(f"{STAGE}/{OTHER}/attempts/killed/model/weights.bin", b"half")
    removed = store.gc(lambda: {(STAGE, KEY), (STAGE, OTHER)}, dry_run=False)
    assert [item.what for item in removed] == [
        f"{STAGE}/{key}/attempts/killed/model/weights.bin" for key in (KEY, OTHER)
    ]
    assert store.get(STAGE, KEY) is not None


def test_gc_spares_what_was_made_anew_meanwhile(
    store: S3Store, elsewhere: S3Store, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store)
    truncate(objects)
    real_sweep = store._sweep

    def sweep_late(*arguments: object) -> object:
        publish(elsewhere, "anew")
        return real_sweep(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_sweep", sweep_late)
    store.gc(lambda: {(STAGE, KEY)}, dry_run=False)
    assert store.get(STAGE, KEY) is not None


# Grid files


def states(store: Store) -> list[str]:
    return [run.state for run in Grids(store).runs("demo")]


def test_run_is_read_back_elsewhere(store: S3Store, elsewhere: S3Store) -> None:
    run = Grids(store).start(run_of())
    assert states(elsewhere) == ["running"]
    run.finish(run_of(key=KEY), "complete")
    assert states(elsewhere) == ["complete"]
    assert Grids(elsewhere).names() == ["demo"]
    assert Grids(elsewhere).reachable() == {(STAGE, KEY)}


def test_concurrent_runs_of_one_grid_keep_each_others_entries(s3_url: str, tmp_path: Path) -> None:
    def work(name: str) -> None:
        Grids(S3Store(s3_url, tmp_path / name)).start(run_of()).finish(run_of(), "failed")

    workers = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert states(S3Store(s3_url, tmp_path / "reader")) == ["failed"] * 3


def test_run_that_beats_no_more_is_interrupted_and_its_claim_garbage(
    store: S3Store, elsewhere: S3Store, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Grids(store).start(run_of())
    monkeypatch.setattr("artifacts.store.s3.claims.SILENT_S", -1.0)
    assert states(elsewhere) == ["interrupted"]
    elsewhere.gc(set, dry_run=False)
    assert paths(objects, "runs/") == []
    run.finish(run_of(), "interrupted")


def test_running_grid_cannot_be_dropped(store: S3Store, elsewhere: S3Store) -> None:
    run = Grids(store).start(run_of())
    with pytest.raises(UsageError, match="grid 'demo' is running"):
        Grids(elsewhere).drop("demo")
    run.finish(run_of(), "complete")
    Grids(elsewhere).drop("demo")
    assert Grids(store).names() == []
