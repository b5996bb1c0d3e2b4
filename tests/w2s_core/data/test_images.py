"""Images as rows hold them: what is decoded, what is refused and how, class folders, the Hub's Parquet files."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from artifacts.errors import UsageError
from flows.plan.graph import Graph
from flows.plan.load import parse_grid
from flows.plan.resolve import resolve
from w2s_core.data.images import MAX_PIXELS, decoded, pixel_digest
from w2s_core.data.rows import read_rows
from w2s_core.entries.prepare import prepare
from w2s_core.errors import DataError
from w2s_core.watch import Silent

CLASSES = ("heron", "10", "2")


def picture(value: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """Noise, another for each value."""
    noise = np.random.default_rng(value).integers(0, 256, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(file, kind)
    return file.getvalue()


def huge() -> bytes:
    """A PNG of a few bytes that says it has far more pixels than are decoded."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + picture(0)[33:]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_images_of_any_mode_are_decoded_in_colour(mode: str) -> None:
    image = decoded(picture(1, mode=mode))
    assert (image.mode, image.size) == ("RGB", (8, 8))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no image that can be read"),
        (b"GIF87a", "no image that can be read"),
        (picture(1)[:60], "no image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that can be read"),
        (huge(), f"{MAX_PIXELS:,}"),
    ],
    ids=["empty", "no pixels", "cut short", "a program", "a bomb"],
)
def test_what_is_no_image_is_refused_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said) as raised:
        decoded(data)
    assert "\n" not in str(raised.value)


def test_same_pixels_have_one_digest_whatever_the_encoding() -> None:
    assert pixel_digest(picture(3)) == pixel_digest(picture(3, "BMP")) != pixel_digest(picture(4))


def grid_of(folder: Path, **data: object) -> Graph:
    sizes = {"n_train": 24, "n_validation": 6, "n_test": 9, **data}
    grid = {"datasets": ["images"], "source": str(folder), "models": "offline-images", "data": sizes}
    return resolve(parse_grid(grid, "test"), {}).graph


def prepared(folder: Path, out: Path) -> dict[str, np.ndarray]:
    [node] = [node for node in grid_of(folder).nodes.values() if node.stage == "prepare"]
    prepare(node.params, {name: source.path for name, source in node.inputs.items()}, out, Silent())
    return {split: read_rows(out / f"{split}.parquet") for split in ("weak_train", "transfer_train", "test")}


def in_folders(folder: Path, names: tuple[str, ...] = CLASSES) -> Path:
    for split, n in (("train", 40), ("test", 20)):
        for number, name in enumerate(names):
            place = folder / "images" / split / name
            place.mkdir(parents=True)
            for i in range(n):
                (place / f"{i}.png").write_bytes(picture(1000 * (split == "test") + 100 * number + i))
    return folder


def test_class_folders_are_numbered_by_name_and_give_encoded_images(tmp_path: Path) -> None:
    rows = prepared(in_folders(tmp_path), tmp_path / "out") if (tmp_path / "out").mkdir() is None else {}
    by_class = {number: CLASSES.index(name) for number, name in enumerate(sorted(CLASSES))}
    for split, of_split in rows.items():
        [shown] = list(of_split.shown())
        for image, label in zip(shown["image"], of_split.gt_labels, strict=True):
            first = 1000 * (split == "test") + 100 * by_class[int(label)]
            assert image in {picture(value) for value in range(first, first + 40)}
        assert np.bincount(of_split.gt_labels, minlength=3).tolist() == [len(of_split) // 3] * 3


def test_parquet_files_as_the_hub_has_them_name_their_classes(tmp_path: Path) -> None:
    names = '{"info": {"features": {"label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}}}'
    (tmp_path / "images").mkdir()
    for split, n in (("train", 60), ("test", 30)):
        images = [{"bytes": picture(1000 * (split == "test") + i), "path": None} for i in range(n)]
        table = pa.table({"image": images, "label": [i % 3 for i in range(n)]})
        pq.write_table(table.replace_schema_metadata({"huggingface": names}), tmp_path / f"images/{split}.parquet")
    (tmp_path / "out").mkdir()
    assert set(prepared(tmp_path, tmp_path / "out")["test"].gt_labels) == {0, 1, 2}


def test_broken_image_is_named_by_its_row(tmp_path: Path) -> None:
    in_folders(tmp_path)
    (tmp_path / "images/train/heron/7.png").write_bytes(picture(5)[:70])
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"^images: row \d+ of the train rows: no image that can be read"):
        prepared(tmp_path, tmp_path / "out")


def test_source_that_names_no_classes_is_refused_when_a_grid_is_planned(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": [picture(1)], "label": [0]}), tmp_path / f"images/{split}.parquet")
    with pytest.raises(UsageError, match="nothing says how many classes column 'label' has"):
        grid_of(tmp_path)
