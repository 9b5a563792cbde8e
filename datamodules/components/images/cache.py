"""A cache of decoded and resized films, keyed by what is in them and by what was done to them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
from jaxtyping import UInt8

from datamodules.components.images.image_io import decode_film
from datamodules.components.images.statistics import FilmStatistics
from datamodules.components.transforms import Box, FilmChange, InputSpec, resize

MEMORY_LIMIT = 2**30
_VERSION = 3  # raise it when decoding or resizing changes what comes out


class FilmCache:
    """Films at a network's input size: in this process's memory, on disk where a folder is given, else decoded.

    Several processes may share a folder: a file appears complete or not at all, and one that cannot be loaded is made
    anew. Memory takes films until it holds `MEMORY_LIMIT` bytes.

    Args:
        folder: Where to keep resized films between runs; made if absent. None keeps them in memory only.
    """

    _known: ClassVar[dict[str, FilmStatistics]] = {}
    """The statistics of every content that this process has decoded."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._contents: dict[tuple[Path, int, int], str] = {}
        self._films: dict[str, UInt8[np.ndarray, "h w"]] = {}
        self._bytes = 0

    def content(self, path: Path) -> str:
        """Return a hash of a film's bytes; a file of unchanged time and size is read once.

        Raises:
            FileNotFoundError: There is no such file.
        """
        state = path.stat()
        key = (path, state.st_mtime_ns, state.st_size)
        if key not in self._contents:
            with path.open("rb") as file:
                self._contents[key] = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        return self._contents[key]

    def statistics(self, path: Path, *, exif: bool) -> FilmStatistics:
        """Return what a film holds; it is decoded completely once per content (and folder).

        Args:
            path: The film.
            exif: Whether it is turned as its EXIF orientation says.

        Raises:
            DataError: It cannot be decoded.
        """
        key = self._key(path, "statistics", exif)
        if key not in self._known:
            self._known[key] = self._load_statistics(key) or self._decode(path, exif)[1]
        return self._known[key]

    def read(
        self, path: Path, box: Box, spec: InputSpec, change: FilmChange | None = None, *, exif: bool
    ) -> UInt8[np.ndarray, "h w"]:
        """Return the film cropped to `box`, resized and preprocessed as `spec` says; the caller owns the array.

        A film that is changed before is not kept.

        Raises:
            DataError: The film cannot be decoded.
        """
        if change is not None:
            return resize(change.apply(decode_film(path, exif=exif).pixels), box, spec)
        key = self._key(path, f"{tuple(box)}|{spec.key}", exif)
        film = self._films.get(key)
        if film is None:
            film = self._load(key, spec.size)
            if film is None:
                film = resize(self._decode(path, exif)[0], box, spec)
                self._store(key, film)
            self._remember(key, film)
        return film.copy()

    def _key(self, path: Path, what: str, exif: bool) -> str:
        text = f"{_VERSION}|{self.content(path)}|{what}|{exif}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _decode(self, path: Path, exif: bool) -> tuple[UInt8[np.ndarray, "height width"], FilmStatistics]:
        """Decode a film and keep its statistics."""
        key = self._key(path, "statistics", exif)
        film = decode_film(path, exif=exif)
        self._known[key] = FilmStatistics.of(film)
        if self.folder is not None:
            text = json.dumps(self._known[key]._asdict()).encode()
            _write(self._statistics_file(self.folder, key), lambda file: file.write(text))
        return film.pixels, self._known[key]

    def _statistics_file(self, folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.json"

    def _load_statistics(self, key: str) -> FilmStatistics | None:
        """Return the statistics on disk; None where there are none or they are damaged."""
        if self.folder is None:
            return None
        try:
            return FilmStatistics.from_json(self._statistics_file(self.folder, key).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):
            return None

    def _remember(self, key: str, film: UInt8[np.ndarray, "h w"]) -> None:
        if self._bytes + film.nbytes <= MEMORY_LIMIT:
            self._films[key] = film
            self._bytes += film.nbytes

    def _file(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / key[:2] / f"{key}.npy"

    def _load(self, key: str, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"] | None:
        """Return the film on disk; None where there is none or it is damaged."""
        file = self._file(key)
        if file is None:
            return None
        try:
            film = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return film if isinstance(film, np.ndarray) and film.dtype == np.uint8 and film.shape == size else None

    def _store(self, key: str, film: UInt8[np.ndarray, "h w"]) -> None:
        file = self._file(key)
        if file is None:
            return
        _write(file, lambda part: np.save(part, film))


def _write(file: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a file that appears complete or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
        try:
            fill(part)
        except OSError:  # a full disk
            os.unlink(part.name)
            raise
    os.replace(part.name, file)
