"""Content-addressed files: a blob's name is its sha256, so what is read is what was written, or an error."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from streams.errors import Corrupt, TryAgain


class BlobStore:
    """Blobs in a folder, at `<sha[:2]>/<sha[2:4]>/<sha>`; writes are atomic and idempotent."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str) -> Path:
        """Return where a blob is or would be."""
        return self._root / sha256[:2] / sha256[2:4] / sha256

    def put(self, content: bytes) -> str:
        """Store bytes; return their sha256 in hex. Raises TryAgain if they cannot be written."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.path(sha256)
        try:
            if not (path.exists() and path.stat().st_size == len(content)):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, content)
        except OSError as error:
            raise TryAgain(f"blob {sha256[:12]} cannot be written: {error}") from error
        return sha256

    def get(self, sha256: str) -> bytes:
        """Return a blob, verified. Raises TryAgain if it is not there, Corrupt if its bytes have changed."""
        try:
            content = self.path(sha256).read_bytes()
        except OSError as error:
            raise TryAgain(f"blob {sha256[:12]} cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Corrupt(f"blob {sha256[:12]} does not match its sha256")
        return content


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, through the disk's cache."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
