"""A cache of decoded and resized films, keyed by what is in them and by what was done to them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from datamodules.components.images.cache_folder import CacheFolder
from datamodules.components.images.image_io import decode_film
from datamodules.components.images.statistics import FilmStatistics
from datamodules.components.transforms import Box, FilmChange, InputSpec, resize

MEMORY_LIMIT = 2**30
_VERSION = 4  # raise it when decoding or resizing changes what comes out


class FilmCache:
    """Films at a network's input size: on disk where a folder is given, else in this process's memory.

    Several processes may share a folder (`cache_folder`): a file appears complete or not at all, one that is damaged is
    made anew, and the memory that holds it is theirs together. Memory of the process's own takes films until it holds
    `MEMORY_LIMIT` bytes.

    Args:
        folder: Where to keep resized films between runs; made if absent. None keeps them in memory only.
        dataset: Names the part of the folder for these films.
    """

    _known: ClassVar[dict[str, FilmStatistics]] = {}
    """The statistics of every content that this process has decoded."""

    def __init__(self, folder: Path | None = None, dataset: str = "films") -> None:
        self.folder = None if folder is None else CacheFolder(folder, dataset)
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
        film = self._films.get(key) if self.folder is None else self.folder.read_array(key, spec.size)
        if film is None:
            film = resize(self._decode(path, exif)[0], box, spec)
            if self.folder is None:
                self._remember(key, film)
            else:
                self.folder.write_array(key, film)
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
            self.folder.write_text(key, json.dumps(self._known[key]._asdict()))
        return film.pixels, self._known[key]

    def _load_statistics(self, key: str) -> FilmStatistics | None:
        """Return the statistics on disk; None where there are none or they are damaged."""
        text = None if self.folder is None else self.folder.read_text(key)
        try:
            return None if text is None else FilmStatistics.from_json(text)
        except (ValueError, TypeError):
            return None

    def _remember(self, key: str, film: UInt8[np.ndarray, "h w"]) -> None:
        if self._bytes + film.nbytes <= MEMORY_LIMIT:
            self._films[key] = film
            self._bytes += film.nbytes
