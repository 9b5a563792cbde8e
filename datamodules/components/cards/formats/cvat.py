"""CVAT for images 1.1: one XML file; a landmark is a `points` element of one point, on its own or in a skeleton."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from datamodules.components.cards.formats.common import Labels, Point, Source, collect, point, read_text
from datamodules.components.errors import DataError


def read(source: Source) -> list[Labels]:
    """Return the labels of every image that has some; `outside` means missing.

    A `points` element with several points gives the labels `label-1`, `label-2` ...

    Raises:
        DataError: The file is not XML, or a value is not what it should be; file, line and value are named.
    """
    return [labels for path in source.paths for labels in _Reader(path).read()]


@dataclass
class _Reader:
    """Follows one file, so that every element has its line."""

    path: Path
    found: list[Labels] = field(default_factory=list)
    points: list[tuple[str, Point]] = field(default_factory=list)
    image: dict[str, str] = field(default_factory=dict)
    line: int = 0

    def __post_init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def read(self) -> list[Labels]:
        try:
            self.parser.Parse(read_text(self.path).lstrip(), True)
        except expat.ExpatError as error:
            raise DataError(f"{self.path}, line {error.lineno} is not XML ({error}); export the file again.") from error
        return self.found

    @property
    def place(self) -> str:
        return f"{self.path}, line {self.parser.CurrentLineNumber}"

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "image":
            self.image, self.points, self.line = attributes, [], self.parser.CurrentLineNumber
        elif tag == "points" and self.image and attributes.get("outside") != "1":
            self.points += self._labelled(attributes)

    def _labelled(self, attributes: dict[str, str]) -> list[tuple[str, Point]]:
        label, texts = attributes.get("label", ""), attributes.get("points", "").split(";")
        found = []
        for text in texts:
            values = text.split(",")
            if len(values) != 2:
                raise DataError(f"{self.place} has {text!r} where a point x,y is needed; export the file again.")
            found.append(point(values[0], values[1], self.place))
        names = [label] if len(found) == 1 else [f"{label}-{index}" for index in range(1, len(found) + 1)]
        return list(zip(names, found, strict=True))

    def _end(self, tag: str) -> None:
        if tag == "image":
            place = f"{self.path}, line {self.line}"
            if self.points:
                self.found.append(Labels(self._name(place), place, collect(self.points, place), {}, self._size()))
            self.image = {}

    def _name(self, place: str) -> str:
        if not self.image.get("name"):
            raise DataError(f"{place} has an image without a name; export the file again.")
        return self.image["name"]

    def _size(self) -> tuple[int, int] | None:
        height, width = self.image.get("height", ""), self.image.get("width", "")
        return (int(height), int(width)) if height.isdecimal() and width.isdecimal() else None
