"""Writes the site: a function of a scored run store and of the films that may be shown, the same bytes every time."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from benchmark.store import EXTERNAL, FACTS, STRESS, write_atomically
from leaderboards.boards.board import Board
from leaderboards.boards.published import read_published
from leaderboards.boards.reported import Reported
from leaderboards.build import read_leaderboards, write_leaderboards
from leaderboards.external.page import write_external
from leaderboards.external.scores import read_external
from leaderboards.pages.leaderboards import Leaderboards, assemble
from leaderboards.pages.model import Page, Section
from leaderboards.pages.overview import board_addresses
from leaderboards.robustness.page import write_stress
from leaderboards.robustness.scores import read_stress
from leaderboards.site.blocks import ChartGrid
from leaderboards.site.board_pages import Sources, complete_page
from leaderboards.site.charts.figures import Structures, Styles
from leaderboards.site.charts.pareto import cost_charts
from leaderboards.site.films import Draw, Gallery
from leaderboards.site.html import EXPORTS, TEMPLATES, environment
from leaderboards.site.methods import method_pages
from leaderboards.site.published_rows import PublishedRows
from leaderboards.site.verdicts import banners, board_cards

PLOTLY: Final = "plotly.min.js"
MANIFEST: Final = "files.txt"
"""Lists the site's files, so that the next build removes those that it no longer writes."""
_LEAD: Final = (
    "How well published methods find anatomical landmarks on X-rays, one card per board: a dataset, a protocol and a "
    "test set. Numbers of two boards cannot be compared."
)
_COSTS: Final = Section("What accuracy costs", id="costs-section")


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
    return _write_site(Path(store), Path(out), read_leaderboards(store, reported), draw, {})


def build_published_site(published: Path | str, out: Path | str) -> list[Path]:
    """Write a site of published leaderboards alone, without a run store and without a film.

    Args:
        published: A folder that `osteomark leaderboard --publish` wrote.
        out: The folder to write to; pages of an earlier build in it are replaced.

    Returns:
        The written files, the overview first.

    Raises:
        FileNotFoundError: It holds no published leaderboards.
    """
    content = assemble(read_published(published))
    rows = {page.page.name: PublishedRows(Path(published), page.page.name) for page in content.pages}
    return _write_site(Path(published), Path(out), content, None, rows)


def _write_site(
    root: Path,
    folder: Path,
    content: Leaderboards,
    draw: Draw | None,
    published: Mapping[str, PublishedRows],
) -> list[Path]:
    """Write the pages of all boards; `root` holds the facts and what `osteomark stress` and `test` left."""
    facts = json.loads((root / FACTS).read_text(encoding="utf-8"))
    stressed = read_stress(root) if (root / STRESS).is_file() else []
    external = read_external(root) if (root / EXTERNAL).is_file() else []
    exports = write_leaderboards(content, folder / EXPORTS) + (write_stress(root, folder / EXPORTS) if stressed else [])
    exports += write_external(root, folder / EXPORTS) if external else []
    _compact(exports)
    styles = Styles(content.boards)
    pages = [
        complete_page(
            page,
            Sources(
                _structures(facts, page.boards[0]), styles, published.get(page.page.name), draw, stressed, external
            ),
        )
        for page in content.pages
    ]
    galleries = {key: gallery for page in pages for key, gallery in page.galleries.items()}
    methods = method_pages(content.boards, galleries, facts["methods"])
    cases = {address: case for page in pages for address, case in page.cases.items()}
    away = {address: text for page in pages for address, text in page.away.items()}
    index = _first_page(content, galleries, styles, {address: case.page.name for address, case in cases.items()}, away)
    below = [(page.page, case.page) for page in pages for case in page.cases.values()]
    files = {**_render([index, *(page.page for page in pages)], methods, below), **_assets()}
    files |= {name: text.encode() for case in cases.values() for name, text in case.files.items()}
    files |= {name: path.read_bytes() for page in pages for name, path in sorted(page.images.items())}
    paths = [*(_write(folder / name, data) for name, data in files.items()), *exports]
    _tidy(folder, paths)
    return paths


def _first_page(
    content: Leaderboards,
    galleries: Mapping[tuple[str, str], Gallery],
    styles: Styles,
    cases: Mapping[str, str],
    away: Mapping[str, str],
) -> Page:
    """Put the verdicts before everything else, which is folded."""
    boards = content.boards
    cards = Section("Verdicts", (*banners(boards), board_cards(boards, galleries, cases, away)), id="verdicts")
    deeper = (*content.overview.sections, *_costs(boards, styles))
    return content.overview._replace(
        lead=(_LEAD, *content.left_out), sections=(cards, *(section._replace(folded=True) for section in deeper))
    )


def _structures(facts: Mapping[str, Any], board: Board) -> Structures:
    known = facts["datasets"].get(board.dataset, {})
    edges = tuple((first, second) for first, second in known.get("edges", ()))
    return Structures(dict(known.get("groups", ())), known.get("structure", Structures().structure), edges)


def _costs(boards: Sequence[Board], styles: Styles) -> list[Section]:
    """Show each board's first score against time per image, parameters and training time."""
    sections = [
        Section(board.name, (ChartGrid(charts, "triple"),), page=address)
        for place, (board, address) in enumerate(zip(boards, board_addresses(boards), strict=True))
        if (charts := cost_charts(board, f"c{place}", styles))
    ]
    return [_COSTS._replace(sections=tuple(sections))] if sections else []


def _render(pages: Sequence[Page], methods: Sequence[Page], below: Sequence[tuple[Page, Page]]) -> dict[str, bytes]:
    """Write the overview and the boards' pages, the list of methods and the methods' pages, and pages below boards'."""
    template = environment().get_template("page.html.j2")
    shared = {"pages": [*pages, methods[0]]}
    above = {page.name: pages[0] for page in pages[1:]} | {page.name: methods[0] for page in methods[1:]}
    above |= {page.name: board for board, page in below}
    return {
        f"{page.name}.html": template.render(**shared, page=page, above=above.get(page.name)).encode()
        for page in (*pages, *methods, *(page for _, page in below))
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
        **{name: (TEMPLATES / name).read_bytes() for name in ("site.css", "site.js", "cases.js")},
        PLOTLY: (home / "package_data" / PLOTLY).read_bytes(),
    }


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
