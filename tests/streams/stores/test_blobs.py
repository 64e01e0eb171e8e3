from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import Corrupt, TryAgain
from streams.stores.blobs import BlobStore


def test_a_blob_comes_back_by_its_sha256(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    name = blobs.put(b"content")
    assert blobs.put(b"content") == name
    assert blobs.get(name) == b"content"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [name]


def test_a_folder_that_cannot_be_used_is_away_for_now(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    root.write_bytes(b"")
    with pytest.raises(TryAgain, match="cannot be written"):
        BlobStore(root).put(b"content")
    root.unlink()
    assert BlobStore(root).put(b"content")


def test_a_damaged_blob_is_not_handed_out(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    name = blobs.put(b"content")
    blobs.path(name).write_bytes(b"consent")
    with pytest.raises(Corrupt, match="sha256"):
        blobs.get(name)
    with pytest.raises(TryAgain, match="cannot be read"):
        blobs.get("0" * 64)
