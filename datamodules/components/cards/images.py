"""Finding the image that an annotation file speaks of, however it spells the name."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath

from datamodules.components.errors import DataError
from datamodules.components.images.dicom import is_dicom
from datamodules.components.images.image_io import FILM_SUFFIXES


class Images:
    """The images of a folder.

    Args:
        root: The folder.
        pattern: Which files below it are images.
    """

    def __init__(self, root: Path, pattern: str) -> None:
        self.root = root
        files = sorted(path for path in root.glob(pattern) if path.is_file())
        self.paths = [path for path in files if path.suffix.lower() in FILM_SUFFIXES or is_dicom(path)]

    def find(self, image: str, place: str) -> Path | None:
        """Return the image that is called `image`, with or without folders and suffix; None where there is none.

        Raises:
            DataError: Several images could be meant.
        """
        wanted = _parts(image)
        best = self._by_stem.get(wanted[-1], []) if wanted else []
        if len(best) > 1:
            alike = {path: _shared_tail(wanted, self._relative(path)) for path in best}
            best = [path for path in best if alike[path] == max(alike.values())]
        if len(best) > 1:
            names = " and ".join(str(path.relative_to(self.root)) for path in best[:2])
            raise DataError(f"{place} names the image {image!r}, which could be {names}; write the folder, too.")
        return best[0] if best else None

    def name(self, path: Path) -> str:
        """Return an image's case name: its stem, with folders where stems repeat."""
        parts = self._relative(path)
        return "/".join(parts) if len(self._by_stem[parts[-1]]) > 1 else parts[-1]

    def _relative(self, path: Path) -> tuple[str, ...]:
        return _parts(path.relative_to(self.root).as_posix())

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in self.paths:
            found.setdefault(self._relative(path)[-1], []).append(path)
        return found


def _parts(text: str) -> tuple[str, ...]:
    """Return a path's parts, the last one without an image's suffix."""
    *folders, last = PurePosixPath(text.replace("\\", "/")).parts or ("",)
    stem, dot, suffix = last.rpartition(".")
    return (*folders, stem if dot and f".{suffix.lower()}" in FILM_SUFFIXES else last)


def _shared_tail(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
