"""The part of the film cache on disk: a folder that processes and runs share, bounded in size.

Below the folder each dataset has its own: `<dataset>/<2 digits>/<key>.npy` is an array in numpy's format, followed by
the CRC-32 of its bytes, `<key>.json` the statistics of a film. A use sets a file's modification time, since many file
systems keep no access times, and the files that were not used for longest go first. Nothing else is recorded, so that a
file may be deleted at any time: what is mapped stays readable until it is closed, what is missing is decoded again.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import UInt8

LIMIT_VARIABLE: Final = "OSTEOMARK_CACHE_LIMIT"
DEFAULT_LIMIT: Final = "50 GB"
LOCK: Final = ".lock"
_UNITS: Final = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_STEP: Final = 100
"""A process looks at the folder's size whenever it has written this part of the limit."""
_KEPT: Final = 0.9
"""The part of the limit that is left when files are removed, so that this is not done for every new film."""
_CHECKSUM_BYTES: Final = 4
_DIGITS: Final = re.compile("[0-9a-f]{2}")
_FILE: Final = re.compile(r"[0-9a-f]{32}\.(npy|json)")
_PART: Final = ".part"
_ABANDONED: Final = 86400.0
"""Seconds after which nobody writes a file any more that is not complete."""


class CacheFile(NamedTuple):
    """A file of the cache.

    Attributes:
        path: Where it is.
        dataset: Whose film it holds.
        size: In bytes.
        used: When it was used last, seconds since 1970.
    """

    path: Path
    dataset: str
    size: int
    used: float


def size_limit() -> int:
    """Return the most bytes that a cache may take, from `OSTEOMARK_CACHE_LIMIT` or the default.

    Raises:
        ValueError: It is no size.
    """
    text = os.environ.get(LIMIT_VARIABLE) or DEFAULT_LIMIT
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|TB)|0", text.strip())
    if not found:
        raise ValueError(
            f"{LIMIT_VARIABLE}={text} is no size; write 500 MB, 50 GB or 1 TB, or 0 to keep nothing on disk."
        )
    return int(float(found[1]) * _UNITS[found[2]]) if found[1] else 0


def cache_files(root: Path) -> Iterator[CacheFile]:
    """Look at every file of a cache, of films that are not named after a dataset, too, as older versions kept them.

    Other files below the folder do not belong to it, nor do those that a process is writing.
    """
    now = time.time()
    for folder, _, names in os.walk(root):
        *dataset, digits = Path(folder).relative_to(root).parts or ("",)
        for name in names if _DIGITS.fullmatch(digits) else ():
            path = Path(folder, name)
            try:
                state = path.stat()
            except FileNotFoundError:  # another process has just removed it
                continue
            if _FILE.fullmatch(name) or (path.suffix == _PART and now - state.st_mtime > _ABANDONED):
                yield CacheFile(path, "/".join(dataset), state.st_size, state.st_mtime)


def clear(root: Path, dataset: str = "") -> tuple[int, int]:
    """Remove the files of a dataset, or all.

    Args:
        root: The cache's folder.
        dataset: Its name; all if empty.

    Returns:
        How many files were removed, and their bytes.
    """
    return _remove(file for file in cache_files(root) if dataset in ("", file.dataset))


def shrink(root: Path, limit: int) -> tuple[int, int]:
    """Remove the files that were not used for longest until a cache takes clearly less than its limit.

    Args:
        root: The cache's folder.
        limit: In bytes.

    Returns:
        How many files were removed, and their bytes; nothing where the limit is kept or another process does it.
    """
    try:
        with FileLock(root / LOCK, blocking=False):
            files = sorted(cache_files(root), key=lambda file: file.used)
            excess = sum(file.size for file in files)
            if excess <= limit:
                return 0, 0
            goes = []
            for file in files:
                if excess <= _KEPT * limit:
                    break
                goes.append(file)
                excess -= file.size
            return _remove(goes)
    except Timeout:
        return 0, 0


def _remove(files: Iterator[CacheFile] | list[CacheFile]) -> tuple[int, int]:
    count, size = 0, 0
    for file in files:
        file.path.unlink(missing_ok=True)
        count, size = count + 1, size + file.size
    return count, size


class CacheFolder:
    """One dataset's part of a cache on disk.

    Args:
        root: The cache's folder; made when something is written.
        dataset: Names the part.

    Raises:
        ValueError: The limit is no size.
    """

    def __init__(self, root: Path, dataset: str) -> None:
        self.root, self.dataset = root, dataset
        self.limit = size_limit()
        self._written = self.limit  # what was there before is not known yet
        self._verified: set[Path] = set()

    def read_array(self, key: str, shape: tuple[int, int]) -> UInt8[np.ndarray, "h w"] | None:
        """Map an array into memory; processes that read it share the pages.

        Its checksum is looked at when this process reads it for the first time.

        Returns:
            The array, not to be written to; None where there is none or it is damaged.
        """
        path = self._path(key, ".npy")
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if array.dtype != np.uint8 or array.shape != shape or not self._is_whole(path, array):
                return None
            os.utime(path)
        except (OSError, ValueError, EOFError):
            return None
        return np.asarray(array)

    def write_array(self, key: str, array: UInt8[np.ndarray, "h w"]) -> None:
        """Keep an array."""

        def fill(file: IO[bytes]) -> None:
            np.save(file, array)
            file.write(_checksum(array))

        self._write(self._path(key, ".npy"), fill)

    def read_text(self, key: str) -> str | None:
        """Return a text; None where there is none."""
        path = self._path(key, ".json")
        try:
            text = path.read_text(encoding="utf-8")
            os.utime(path)
        except (OSError, ValueError):
            return None
        return text

    def write_text(self, key: str, text: str) -> None:
        """Keep a text."""
        self._write(self._path(key, ".json"), lambda file: file.write(text.encode()))

    def _path(self, key: str, suffix: str) -> Path:
        return self.root / self.dataset / key[:2] / f"{key}{suffix}"

    def _is_whole(self, path: Path, array: UInt8[np.ndarray, "h w"]) -> bool:
        """Tell whether the bytes behind the array are its checksum."""
        if path in self._verified:
            return True
        with path.open("rb") as file:
            file.seek(-_CHECKSUM_BYTES, os.SEEK_END)
            whole = file.read() == _checksum(array)
        if whole:
            self._verified.add(path)
        return whole

    def _write(self, path: Path, fill: Callable[[IO[bytes]], object]) -> None:
        """Write a file that appears complete or not at all, and keep the limit."""
        if not self.limit:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=_PART, delete=False) as part:
            try:
                fill(part)
                self._written += part.tell()
            except OSError:  # a full disk
                os.unlink(part.name)
                raise
        os.replace(part.name, path)
        self._verified.discard(path)
        if self._written * _STEP >= self.limit:
            self._written = 0
            shrink(self.root, self.limit)


def _checksum(array: UInt8[np.ndarray, "h w"]) -> bytes:
    return zlib.crc32(np.ascontiguousarray(array).data).to_bytes(_CHECKSUM_BYTES, "little")
