"""`osteomark data preview`: every film with its landmarks where they are, and nothing private without `--reveal`."""

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmark.cli.main import main
from datamodules import discover
from datamodules.audit.preview import chosen, write_preview
from tests.benchmark.test_privacy import MARKER, leaks, write_marked

CIRCLE = re.compile(r'<g><title>(\d+) ([^<]*)</title><circle cx="([\d.-]+)" cy="([\d.-]+)"')


def test_landmarks_are_drawn_where_they_are_on_the_film(tiny_roots: dict[str, Path], tmp_path: Path) -> None:
    data = discover()["aasce"](tiny_roots["aasce"])
    page = write_preview(data, tmp_path, 1, private=False).read_text(encoding="utf-8")
    (name,) = chosen(data, 1)
    case = data.inventory.cases[name]
    drawn = {label: (int(number), float(x), float(y)) for number, label, x, y in CIRCLE.findall(page)}
    picture = base64.b64decode(re.search(r"data:image/jpeg;base64,([^\"]+)", page)[1])  # type: ignore[index]
    height, width = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE).shape
    assert list(drawn) == list(data.schema.names)
    for index, (label, (number, x, y)) in enumerate(drawn.items()):
        assert number == index + 1
        there = (case.points[index] + 0.5) * (width / case.size[1], height / case.size[0]) - 0.5
        assert np.allclose((x, y), there, atol=0.01), label


def test_odd_films_come_first_and_the_others_are_spread_over_the_set(tiny_roots: dict[str, Path]) -> None:
    data = discover()["aasce"](tiny_roots["aasce"])
    names = list(data.inventory.cases)
    object.__setattr__(data.inventory, "oddities", (f"{names[3]}: the film is odd.",))
    shown = chosen(data, 4)
    assert shown[0] == names[3]
    assert len(set(shown)) == 4
    assert {names[0], names[-1]} <= set(shown)
    assert set(chosen(data, 10_000)) == set(names)


def test_a_private_set_s_page_says_so_and_names_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = write_marked(tmp_path / "set")
    assert main(["data", "preview", str(card), "--cases", "3", "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "keep it on this machine" in capsys.readouterr().out
    assert "This set is private" in page
    assert not leaks(tmp_path / "page")
    assert main(["data", "preview", str(card), "--cases", "3", "--reveal", "--out", str(tmp_path / "page")]) == 0
    revealed = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert MARKER in revealed
    assert "This set is private" in revealed
