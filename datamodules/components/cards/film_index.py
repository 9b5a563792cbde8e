"""The films of a folder, found by the name that a label file gives them, however it spells it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from datamodules.components.errors import DataError
from datamodules.components.images.dicom import is_dicom
from datamodules.components.images.image_io import FILM_SUFFIXES

_LOCAL_FILE = re.compile(r".*[?&]d=")
"""How Label Studio addresses a file."""


def visible_files(root: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern in order, its suffix in any case; hidden ones, as `._film.png`, are passed over."""
    head, dot, suffix = pattern.rpartition(".")
    if dot and suffix.isalnum():
        pattern = f"{head}.{''.join(f'[{c.lower()}{c.upper()}]' if c.isalpha() else c for c in suffix)}"
    return sorted(path for path in root.glob(pattern) if not path.name.startswith(".") and path.is_file())


def is_film(path: Path) -> bool:
    """Tell whether a file is an image by its suffix, or DICOM by its content."""
    return path.suffix.lower() in FILM_SUFFIXES or is_dicom(path)


class FilmIndex:
    """The films of a folder.

    Args:
        root: The folder.
        pattern: Which files below it are films.
    """

    def __init__(self, root: Path, pattern: str) -> None:
        self.root = root
        self.paths = [path for path in visible_files(root, pattern) if is_film(path)]

    def find(self, image: str, location: str) -> Path | None:
        """Return the film that is called `image`, with or without folders and suffix; None where there is none.

        Raises:
            DataError: Several films could be meant.
        """
        wanted = _parts(image)
        best = self._by_stem.get(wanted[-1], [])
        if len(best) > 1:
            alike = {path: _shared_tail(wanted, self._relative(path)) for path in best}
            best = [path for path in best if alike[path] == max(alike.values())]
        if len(best) > 1:
            best = [path for path in best if path.name == image.replace("\\", "/").rpartition("/")[2]] or best
        if len(best) > 1:
            names = " and ".join(str(path.relative_to(self.root)) for path in best[:2])
            raise DataError(f"{location} names the image {image!r}, which could be {names}; write the folder, too.")
        return best[0] if best else None

    def name(self, path: Path) -> str:
        """Return a film's case name: its stem, with folders where stems repeat."""
        if len(self._by_stem[self._relative(path)[-1]]) == 1:
            return _without_suffix(path.name)
        *folders, last = path.relative_to(self.root).parts
        return "/".join([*folders, _without_suffix(last)])

    def nearly(self, image: str) -> Path | None:
        """Return a film that no label names exactly, if it is the only one that fits.

        Its name may differ in case, in URL escapes, or lack a prefix that a labelling tool put before it, as in
        `8f3a-film1.png`.
        """
        stem = _parts(unquote(_LOCAL_FILE.sub("", image)))[-1]
        ways: tuple[Callable[[str], bool], ...] = (
            lambda known: known == stem,
            lambda known: known.casefold() == stem.casefold(),
            lambda known: stem.endswith((f"-{known}", f"_{known}", f".{known}")),
        )
        for way in ways:
            if fitting := [path for known, paths in self._by_stem.items() if way(known) for path in paths]:
                return fitting[0] if len(fitting) == 1 else None
        return None

    def _relative(self, path: Path) -> tuple[str, ...]:
        return _parts(path.relative_to(self.root).as_posix())

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        by_stem: dict[str, list[Path]] = {}
        for path in self.paths:
            by_stem.setdefault(self._relative(path)[-1], []).append(path)
        return by_stem


def _parts(text: str) -> tuple[str, ...]:
    """Return a path's parts in composed Unicode, the last one without an image's suffix."""
    composed = unicodedata.normalize("NFC", text.replace("\\", "/"))
    *folders, last = PurePosixPath(composed).parts or ("",)
    return (*folders, _without_suffix(last))


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in FILM_SUFFIXES else name


def _shared_tail(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
