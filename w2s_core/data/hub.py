"""Raw rows from the Hugging Face Hub, and the commit that a Hub revision stands for.

Whatever fails is one line that says how to do without the Hub. Nothing here knows a dataset but by the columns that
are wanted of it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from w2s_core.data.datasets import EncodedImage, RawRow
from w2s_core.data.labels import Tell
from w2s_core.data.layouts import SPLITS
from w2s_core.data.sources import SOURCES, Columns, TellSplit, checked, first_line, nobody
from w2s_core.errors import DataError

COMMIT = re.compile(r"[0-9a-f]{40}")
CONVERTED = "refs/convert/parquet"
"""The branch on which the Hub keeps the rows of a dataset repository as ``<config>/<split>/*.parquet``."""


class NotOnHubError(DataError):
    """The Hub answers, but has no such repository or revision, or does not show it to us."""


def resolve_hub(id: str, revision: str, kind: str) -> str:
    """The commit that a revision of a Hub repository stands for now.

    Args:
        id: the repository.
        revision: a branch, tag or commit; a whole commit is returned as it is.
        kind: ``"dataset"`` or ``"model"``.

    Raises:
        NotOnHubError: the Hub has no such revision.
        DataError: the Hub cannot be reached.
    """
    if COMMIT.fullmatch(revision):
        return revision
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return huggingface_hub.HfApi().repo_info(id, revision=revision, repo_type=kind).sha
    except GatedRepoError as error:
        refusal = NotOnHubError(_refusal(id, kind, error))
    except RepositoryNotFoundError:
        refusal = NotOnHubError(_refusal(id, kind, f"there is no public {kind} of this name"))
    except RevisionNotFoundError:
        refusal = NotOnHubError(_refusal(id, kind, f"it has no revision {revision}"))
    except Exception as error:  # whatever it is, a folder is the way out
        refusal = DataError(_refusal(id, kind, error))
    raise refusal


def cached_file(id: str, commit: str, name: str) -> Path | None:
    """A file of a model repository, if it has been downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(id, name, revision=commit)
    return Path(found) if isinstance(found, str) else None


@SOURCES.register("hub")
def load_hub(
    params: Mapping[str, Any], inputs: Mapping[str, Path], columns: Columns, tell: TellSplit = nobody
) -> dict[str, Iterator[RawRow]]:
    """The rows of a Hub dataset at one commit; of each split the first ones alone where a ``prefix`` is set.

    Raises:
        DataError: on reading, the dataset cannot be had, lacks a column, or has a value of another kind.
    """
    source = params["source"]
    return {split: _split_rows(source, source["splits"][split], columns, partial(tell, split)) for split in SPLITS}


def _split_rows(source: Mapping[str, Any], split: str, columns: Columns, tell: Tell) -> Iterator[RawRow]:
    where = f"{source['id']} on the Hub, split {split}"
    import datasets
    import huggingface_hub

    id, config, files = source["id"], source["config"], None
    if source["is_converted"]:
        # No card on that branch tells configurations apart, so files are named. Tried on a copy of its layout only.
        config, files = None, {split: f"{config or 'default'}/{split}/*.parquet"}
    try:
        if "/" not in id:
            # The Hub sends old ids on to new ones, but no file can be read by them (huggingface/datasets issue 8612).
            id = huggingface_hub.HfApi().dataset_info(id, revision=source["revision"]).id
        builder = datasets.load_dataset_builder(
            id, config, data_dir=source.get("dir"), data_files=files, revision=source["revision"]
        )
        if builder.hash != source["revision"]:
            # Whatever keeps it from loading from the Hub, ``datasets`` falls back to the latest commit in its cache.
            raise LookupError(f"only another commit of it is at hand, {builder.hash}")
        if source["prefix"] is None:
            builder.download_and_prepare()
            rows = builder.as_dataset(split=split)
        else:
            rows = builder.as_streaming_dataset(split=split)
        for name, kind in columns.items():
            if isinstance(kind, EncodedImage) and name in (rows.features or {}):
                rows = rows.cast_column(name, datasets.Image(decode=False))
        features = (rows.features or {}).items()
        names = {name: feature.names for name, feature in features if isinstance(feature, datasets.ClassLabel)}
        # Not ``take``, which asks for one batch more than it gives: perhaps for the next file.
        yield from checked(itertools.islice(rows, source["prefix"]), columns, where, names, tell)
    except DataError:
        raise
    except Exception as error:  # whatever it is, a folder is the way out
        raise DataError(_refusal(source["id"], "dataset", error)) from None


def _refusal(id: str, kind: str, reason: Exception | str) -> str:
    """One line: what cannot be had, why, and what to do instead."""
    instead = {
        "dataset": "set source to a folder that holds <dataset>/train.parquet and test.parquet",
        "model": "give the path of a local folder instead of a Hub id",
    }[kind]
    # ``datasets`` has no class of its own for this.
    if "gated repo" in str(reason) or "gated dataset" in str(reason):
        reason = "it is gated"
        instead = f"accept its terms on its page and log in with `hf auth login` or set HF_TOKEN, or {instead}"
    elif isinstance(reason, Exception):
        reason = f"{type(reason).__name__}: {first_line(reason)}"
    return f"cannot get {kind} {id} from the Hub ({reason}); {instead}"
