"""CVAT for images 1.1: one XML file; a landmark is a `points` element of one point, on its own or in a skeleton."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from datamodules.components.cards.formats.common import ImageLabels, PointLabel, Source, point, read_text, shown
from datamodules.components.errors import DataError


def parse(path: Path, source: Source) -> Iterator[ImageLabels | DataError]:
    """Yield the labels of every image that has some, or what is wrong with them; `outside` means missing.

    A `points` element with several points gives the labels `label-1`, `label-2` ...; a skeleton is a structure.

    Raises:
        DataError: The file is not XML of images; file and line are named.
    """
    yield from _CvatParser(path).parse()


class _CvatParser:
    """Follows one file, so that every element has its line.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parsed: list[ImageLabels | DataError] = []
        self.image: dict[str, str] | None = None
        self.marks: list[PointLabel] = []
        self.flaw: DataError | None = None
        self.skeleton, self.line = "", 0
        self.expat = expat.ParserCreate()
        self.expat.StartElementHandler, self.expat.EndElementHandler = self._start, self._end
        self.expat.EntityDeclHandler = self._refuse_entity

    def parse(self) -> list[ImageLabels | DataError]:
        try:
            self.expat.Parse(read_text(self.path).lstrip(), True)
        except expat.ExpatError as error:
            raise DataError(f"{self.path}, line {error.lineno} is not XML ({error}); export the file again.") from error
        return self.parsed

    @property
    def location(self) -> str:
        return f"{self.path}, line {self.expat.CurrentLineNumber}"

    def _refuse_entity(self, *declaration: object) -> None:
        """Entities can grow without bound or name other files; CVAT writes none."""
        raise DataError(f"{self.location} declares an XML entity, as no export of CVAT does; export the file again.")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "track":
            raise DataError(f"{self.location} is a track of a video; export the task as `CVAT for images 1.1`.")
        if tag == "image":
            self.image, self.marks, self.flaw, self.line = attributes, [], None, self.expat.CurrentLineNumber
        elif tag == "skeleton":
            self.skeleton = attributes.get("label", "")
        elif tag == "points" and self.image is not None and attributes.get("outside") != "1":
            try:
                self.marks += self._marks(attributes)
            except DataError as error:
                self.flaw = self.flaw or error

    def _marks(self, attributes: dict[str, str]) -> list[PointLabel]:
        label, texts = attributes.get("label", ""), attributes.get("points", "").split(";")
        points = []
        for text in texts:
            values = text.split(",")
            if len(values) != 2:
                raise DataError(
                    f"{self.location} has {shown(text)} where a point x,y is needed; export the file again."
                )
            points.append(point(values[0], values[1], self.location))
        labels = [label] if len(points) == 1 else [f"{label}-{index}" for index in range(1, len(points) + 1)]
        return [PointLabel(label, point, self.skeleton) for label, point in zip(labels, points, strict=True)]

    def _end(self, tag: str) -> None:
        if tag == "skeleton":
            self.skeleton = ""
        if tag != "image" or self.image is None:
            return
        location = f"{self.path}, line {self.line}"
        if self.flaw:
            self.parsed.append(self.flaw)
        elif self.marks and not self.image.get("name"):
            self.parsed.append(DataError(f"{location} has an image without a name; export the file again."))
        elif self.marks:
            self.parsed.append(ImageLabels(self.image["name"], location, self.marks, {}, self._size()))
        self.image = None

    def _size(self) -> tuple[int, int] | None:
        assert self.image is not None, "called at the end of an image"
        height, width = self.image.get("height", ""), self.image.get("width", "")
        return (int(height), int(width)) if height.isdecimal() and width.isdecimal() else None
