"""Label files and cards with random damage: they are parsed, or refused in sentences that name the file."""

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

from datamodules.components.cards.card import Annotations, Card
from datamodules.components.cards.formats import Labels, Source, parse_labels
from datamodules.components.cards.label_detection import find_labels
from datamodules.components.errors import DataError
from datamodules.phantom.card_formats import Labelled
from tests import card_files
from tests.fuzz.fuzzing import cuts, fuzz, mutated, mutations

Changes = list[tuple[int, int, bytes]]

NAMES = ("apex left", "carina-ä", "T4")
FILMS = [Labelled(f"films/{i}.png", np.array([[1.5, 2], [np.nan, np.nan], [30, 40.25]]) + i, (90, 80)) for i in (0, 1)]
WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "wide-csv": ("a.csv", lambda folder: card_files.write_wide(folder / "a.csv", FILMS, NAMES)),
    "long-csv": ("a.csv", lambda folder: card_files.write_long(folder / "a.csv", FILMS, NAMES)),
    "coco": ("a.json", lambda folder: card_files.write_coco(folder / "a.json", FILMS, NAMES)),
    "labelme": ("0.json", lambda folder: card_files.write_labelme(folder, FILMS[:1], NAMES)),
    "cvat": ("a.xml", lambda folder: card_files.write_cvat(folder / "a.xml", FILMS, NAMES)),
    "text": ("0.txt", lambda folder: card_files.write_text(folder, FILMS[:1])),
}
NUMBERS = [True, -1, 0, 1e308, float("inf"), float("nan"), 10**400]
NASTY = [None, *NUMBERS, "", "nan", "1e999", "\0", "a" * 5000, [], {}, [[]]]
CARD: dict[str, Any] = {
    "name": "set",
    "images": "films/*.png",
    "annotations": {"format": "wide-csv", "path": "a.csv", "unit": "px", "origin": "corner"},
    "names": {"left": "apex left", "right": "T4"},
    "groups": {"both": ["left", "right"]},
    "flips": [["left", "right"]],
    "normalizer": ["left", "right"],
    "radii": [2, 4],
    "spacing": {"between": ["apex left", "T4"], "mm": 10},
    "patient": {"pattern": "films/(.)"},
    "protocols": {"main": {"ratio": [0.6, 0.2, 0.2]}, "folds": {"folds": 2, "stratify": "sex"}},
}
replacements = st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(NASTY)), min_size=1, max_size=3)
inserts = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 12), st.binary(max_size=6)), max_size=4)
"""Where bytes are replaced, how many, and by which: files change their length, unlike by `mutations`."""


def damaged(content: bytes, changes: Changes) -> bytes:
    """Replace some bytes here and there by others."""
    for at, length, new in changes:
        start = at % (len(content) + 1)
        content = content[:start] + new + content[start + length :]
    return content


def nodes(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every value within lists and mappings."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from nodes(item, (*path, key))


def replaced(content: Any, picks: list[tuple[int, Any]]) -> Any:  # noqa: ANN401
    """Replace some values within lists and mappings."""
    content = copy.deepcopy(content)
    for pick, new in picks:
        paths = list(nodes(content))
        if not paths:
            return content
        *parents, key = paths[pick % len(paths)]
        holder = content
        for parent in parents:
            holder = holder[parent]
        holder[key] = copy.deepcopy(new)
    return content


def refused_or_parsed(folder: Path, form: str, file: str) -> None:
    source = Source(folder, [folder / file], Annotations(form, (file,)), NAMES, len(NAMES))  # type: ignore[arg-type]
    labels, flaws = parse_labels(source)
    assert all(isinstance(item, Labels) for item in labels)
    points = [point for item in labels for point in item.points.values()]
    assert all(np.isfinite(point).all() or np.isnan(point).all() for point in points)
    assert all(file in flaw and "\n" not in flaw and len(flaw) < 1000 for flaw in flaws)
    try:
        find_labels(folder, sorted(folder.iterdir()))
    except DataError as error:
        assert len(str(error)) < 1500


@fuzz(st.sampled_from(sorted(WRITERS)), inserts, mutations, cuts)
def test_damaged_label_files(form: str, changes: Changes, places: list[tuple[int, bytes]], cut: int | None) -> None:
    """Bytes here and there are others."""
    with tempfile.TemporaryDirectory() as folder:
        file, write = WRITERS[form]
        write(Path(folder))
        content = damaged((Path(folder) / file).read_bytes(), changes)
        (Path(folder) / file).write_bytes(mutated(content, places, cut) if content else content)
        refused_or_parsed(Path(folder), form, file)


@fuzz(st.sampled_from(["coco", "labelme"]), replacements)
def test_json_of_another_shape(form: str, picks: list[tuple[int, Any]]) -> None:
    """Values of a JSON file are of other types and sizes."""
    with tempfile.TemporaryDirectory() as folder:
        file, write = WRITERS[form]
        write(Path(folder))
        content = replaced(json.loads((Path(folder) / file).read_text()), picks)
        (Path(folder) / file).write_text(json.dumps(content))
        refused_or_parsed(Path(folder), form, file)


@fuzz(replacements, inserts)
def test_damaged_cards(picks: list[tuple[int, Any]], changes: Changes) -> None:
    """Values and bytes of a card are others."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "card.yaml"
        path.write_bytes(damaged(yaml.safe_dump(replaced(CARD, picks)).encode(), changes))
        try:
            assert isinstance(Card.load(path), Card)
        except DataError as error:
            assert "card.yaml" in str(error)
