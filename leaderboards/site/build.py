"""Writes the site: a function of a scored run store and of the films that may be shown, the same bytes every time."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmark.store import write_atomically
from leaderboards.boards.board import Board
from leaderboards.boards.read import FACTS, read_boards
from leaderboards.boards.reported import Reported
from leaderboards.build import write_boards
from leaderboards.robustness.tables import STRESS, read_stress, stress_page
from leaderboards.site.dataset import EXPORTS, Page, Sources, dataset_page
from leaderboards.site.films import PARTS, Draw
from leaderboards.site.html import TEMPLATES, environment
from leaderboards.site.methods import method_list, method_pages
from leaderboards.site.overview import averages, costs, leaders, ranks
from leaderboards.site.ranking import STATUS_TEXT, method_page
from leaderboards.text.pages import page_name

PLOTLY = "plotly.min.js"
MANIFEST = "files.txt"
"""Lists the site's files, so that the next build removes those that it no longer writes."""


def build_site(
    store: Path | str, out: Path | str, draw: Draw | None = None, reported: Sequence[Reported] | None = None
) -> list[Path]:
    """Write a site that opens from `index.html` in any browser, without a server and without the network.

    Args:
        store: A run store that `osteomark score` went over.
        out: The folder to write to; pages of an earlier build in it are replaced.
        draw: Gives thumbnails of films that may be shown; without it no film is shown.
        reported: The papers' numbers; those of `reported.yaml` by default.

    Returns:
        The written files, the overview first.

    Raises:
        FileNotFoundError: The store was not scored yet.
        ValueError: A `run.json` is damaged.
    """
    folder = Path(out)
    boards = read_boards(store, reported)
    facts = json.loads((Path(store) / FACTS).read_text(encoding="utf-8"))
    stressed = read_stress(store) if (Path(store) / STRESS).is_file() else []
    exports = write_boards(boards, folder / EXPORTS) + (stress_page(store, folder / EXPORTS) if stressed else [])
    _compact(exports)
    names = frozenset(path.relative_to(folder).as_posix() for path in exports)
    pages = [
        _page(list(group), facts, Sources({}, draw, stressed, names)) for _, group in groupby(boards, key=page_name)
    ]
    files = {**_render(boards, pages, facts, exports), **_assets(), **_images(pages)}
    paths = [*(_write(folder / name, content) for name, content in files.items()), *exports]
    _tidy(folder, paths)
    return paths


def _page(boards: Sequence[Board], facts: Mapping[str, Any], sources: Sources) -> Page:
    groups = dict(facts["datasets"].get(boards[0].dataset, {}).get("groups", ()))
    return dataset_page(boards, sources._replace(groups=groups))


def _render(
    boards: Sequence[Board], pages: Sequence[Page], facts: Mapping[str, Any], exports: Sequence[Path]
) -> dict[str, bytes]:
    templates = environment()
    templates.globals |= {"status_text": STATUS_TEXT, "parts": PARTS}
    methods = method_pages(boards, pages, facts["methods"])
    names = sorted(path.name for path in exports)
    shared = {"boards": boards, "pages": pages, "exports": names}
    texts: dict[str, tuple[str, dict[str, Any]]] = {
        "index.html": (
            "overview.html.j2",
            {
                "leaders": leaders(boards),
                "ranks": ranks(boards),
                "averages": averages(boards, names),
                "costs": costs(boards),
            },
        ),
        "methods.html": ("methods.html.j2", {"table": method_list(methods, boards)}),
        **{f"{page.name}.html": ("dataset.html.j2", {"page": page}) for page in pages},
        **{method_page(method.name): ("method.html.j2", {"method": method}) for method in methods},
    }
    return {
        name: templates.get_template(template).render(**shared, **content, here=name).encode()
        for name, (template, content) in texts.items()
    }


def _compact(paths: Sequence[Path]) -> None:
    """Take the spaces out of JSON files, which are half of their bytes."""
    for path in paths:
        if path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            _write(path, (json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n").encode())


def _assets() -> dict[str, bytes]:
    """Return style sheet, script and the one copy of the charting library, which its package ships."""
    package = importlib.util.find_spec("plotly")
    home = Path((package and package.origin) or "").parent
    return {
        **{name: (TEMPLATES / name).read_bytes() for name in ("site.css", "site.js")},
        PLOTLY: (home / "package_data" / PLOTLY).read_bytes(),
    }


def _images(pages: Sequence[Page]) -> dict[str, bytes]:
    return {name: path.read_bytes() for page in pages for name, path in sorted(page.images.items())}


def _tidy(folder: Path, paths: Sequence[Path]) -> None:
    """Remove what only an earlier build wrote: a film that may no longer be shown must not stay."""
    manifest, names = folder / MANIFEST, sorted(path.relative_to(folder).as_posix() for path in paths)
    known = manifest.read_text(encoding="utf-8").splitlines() if manifest.is_file() else []
    for name in set(known) - set(names):
        path = folder / name
        if path.resolve().is_relative_to(folder.resolve()):
            path.unlink(missing_ok=True)
            with suppress(OSError):  # it holds other files
                path.parent.rmdir()
    _write(manifest, ("\n".join(names) + "\n").encode())


def _write(path: Path, content: bytes) -> Path:
    write_atomically(path, lambda file: file.write_bytes(content))
    return path
