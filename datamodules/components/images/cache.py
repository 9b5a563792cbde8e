"""A cache of decoded and resized films, keyed by what is in them and by what was done to them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from datamodules.components.images.image_io import read_film
from datamodules.components.transforms import Box, FilmChange, InputSpec, resize

MEMORY_LIMIT = 2**30
_VERSION = 1  # raise it when decoding or resizing changes what comes out


class FilmCache:
    """Films at a network's input size: in this process's memory, on disk where a folder is given, else decoded.

    Several processes may share a folder: a file appears complete or not at all, and one that cannot be loaded is made
    anew. Memory takes films until it holds `MEMORY_LIMIT` bytes.

    Args:
        folder: Where to keep resized films between runs; made if absent. None keeps them in memory only.
    """

    _sound: ClassVar[set[str]] = set()
    """Contents that this process has decoded without an error."""

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

    def verify(self, path: Path) -> None:
        """Decode a film completely once per content (and folder) to know that it can be.

        Raises:
            DataError: It cannot be decoded.
        """
        content = self.content(path)
        mark = None if self.folder is None else self.folder / "sound" / content
        if content in self._sound or (mark is not None and mark.is_file()):
            return
        read_film(path)
        self._sound.add(content)
        if mark is not None:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()

    def read(self, path: Path, box: Box, spec: InputSpec, change: FilmChange | None = None) -> UInt8[np.ndarray, "h w"]:
        """Return the film cropped to `box`, resized and preprocessed as `spec` says; the caller owns the array.

        A film that is changed before is not kept.

        Raises:
            DataError: The film cannot be decoded.
        """
        if change is not None:
            return resize(change.apply(read_film(path)), box, spec)
        what = f"{_VERSION}|{self.content(path)}|{tuple(box)}|{spec.key}"
        key = hashlib.sha256(what.encode()).hexdigest()[:32]
        film = self._films.get(key)
        if film is None:
            film = self._load(key, spec.size)
            if film is None:
                film = resize(read_film(path), box, spec)
                self._sound.add(self.content(path))
                self._store(key, film)
            self._remember(key, film)
        return film.copy()

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
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
            np.save(part, film)
        os.replace(part.name, file)
