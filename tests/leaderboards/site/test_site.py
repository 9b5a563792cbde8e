"""The site's files: what they link to, what they say without a script, and what they keep to themselves."""

import base64
import html
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from benchmark.cli.main import main
from benchmark.predictions import read_predictions
from leaderboards import PUBLISHED
from leaderboards.boards.case_scores import CaseScores
from leaderboards.boards.published import read_published
from leaderboards.boards.read import read_boards
from leaderboards.external.scores import read_external
from leaderboards.pages.svg import COLOURS, FLOOR_COLOUR, ON_DARK
from leaderboards.site.build import build_published_site, build_site
from leaderboards.site.charts.curves import calibration_curves, error_curves, film_curves
from leaderboards.site.charts.external import dumbbells
from leaderboards.site.charts.figures import Series, Style, Styles
from leaderboards.site.charts.pareto import pareto
from leaderboards.site.charts.spread import film_spread
from leaderboards.site.films import Answered, extremes
from leaderboards.site.published_rows import ranking_scores
from leaderboards.site.run_predictions import RunPredictions, region_probability
from leaderboards.site.summaries import RowSummary, summarise
from leaderboards.site.verdicts import PHANTOMS, SOME_PHANTOMS, banners
from tests.leaderboards.conftest import REPORTED, Drawn, certain, noisy

VOID = {"meta", "link", "img", "input", "br", "path", "line"}


class Page(HTMLParser):
    """The elements of a page, and whether every one that was opened was closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def pages(site: Path) -> Iterator[tuple[str, Page]]:
    return ((path.name, Page(path)) for path in sorted(site.glob("*.html")))


def files(site: Path) -> dict[str, bytes]:
    return {str(path.relative_to(site)): path.read_bytes() for path in sorted(site.rglob("*")) if path.is_file()}


def test_there_is_a_page_per_protocol_and_per_method(site: Path) -> None:
    assert {name for name, _ in pages(site)} == {
        *("index.html", "methods.html", "skull-official.html", "skull-3-fold.html", "clinic-official.html"),
        *("skull-official-cases-1.html", "skull-3-fold-cases-1.html"),
        *(f"method-{name}.html" for name in ("posenet", "mnv2", "res50", "mean_shape", "farnet")),
    }


def test_every_element_is_closed_and_every_id_is_unique(site: Path) -> None:
    for name, page in pages(site):
        counts = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
        assert (name, page.open, [i for i, count in counts.items() if count > 1]) == (name, [], [])


def test_every_link_leads_somewhere(site: Path) -> None:
    ids = {name: {a["id"] for _, a in page.elements if "id" in a} for name, page in pages(site)}
    for name, page in pages(site):
        for link in [a.get("href") or a.get("src", "") for a in page.all("a", "img", "link", "script")]:
            target = urlsplit(link)
            if not link or target.scheme:
                continue
            file = unquote(target.path) or name
            assert (site / file).is_file(), f"{name} links to {link}"
            assert not target.fragment or target.fragment in ids[file], f"{name} links to {link}"


def test_what_labels_describe_and_control_is_there(site: Path) -> None:
    for name, page in pages(site):
        ids = {a["id"] for _, a in page.elements if "id" in a}
        for _, attributes in page.elements:
            for key in ("aria-labelledby", "aria-describedby", "aria-controls", "data-spec", "data-legend"):
                assert attributes.get(key, "") in ids | {""}, f"{name}: {key}={attributes.get(key)}"


def test_nothing_is_loaded_from_the_network(site: Path) -> None:
    for _, page in pages(site):
        loaded = [a.get("src") or a.get("href", "") for a in page.all("img", "link", "script")]
        assert all(urlsplit(link).scheme in {"", "data"} for link in loaded)


def test_every_table_has_a_caption_and_headings_for_columns_and_rows(site: Path) -> None:
    for path in sorted(site.glob("*.html")):
        for table in re.findall(r"<table.*?</table>", path.read_text(), flags=re.DOTALL):
            head, *rows = re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)
            columns = head.count('<th scope="col"')
            assert "<caption" in table
            assert columns > 1
            assert all(len(re.findall(r"<t[hd][ >]", row)) == columns for row in rows)
            assert all(row.count('<th scope="row"') == 1 for row in rows)


def test_every_picture_and_chart_says_what_it_shows(site: Path) -> None:
    for _, page in pages(site):
        assert all(len(a["alt"]) > 20 for a in page.all("img"))
        assert all(a["aria-label"] and a["aria-describedby"] for a in page.all("div") if a.get("role") == "img")


def test_a_text_from_outside_is_never_markup(site: Path) -> None:
    text = (site / "skull-official.html").read_text()
    assert "Rival &lt;b&gt;" in text
    assert "Rival <b>" not in text


def test_statuses_badges_and_reported_rows_are_visible_without_a_script(site: Path) -> None:
    text = (site / "skull-official.html").read_text()
    for kind, words in (("warning", "oracle crop"), ("reported", "reported"), ("failed", "failed")):
        assert f'<span class="chip {kind}">{words}</span>' in text
    assert "RuntimeError: out of memory" in text
    assert "leaked pairs" in (site / "skull-3-fold.html").read_text()


def test_a_page_has_all_its_parts(site: Path) -> None:
    text = (site / "skull-official.html").read_text()
    for part in ("ced", "ced-nme", "groups", "landmarks", "calibration", "learning", "stress-0", "pairs", "films"):
        assert f'id="s1-{part}"' in text
    assert 'id="s1-calibration"' not in (site / "skull-3-fold.html").read_text()  # nobody there has a covariance
    assert "exports/skull-official.csv" in text


def test_plus_minus_and_intervals_are_explained_where_they_stand(site: Path) -> None:
    text = (site / "skull-official.html").read_text()
    assert " ± " in text
    assert "<em>±</em>, where it stands, is the standard deviation over seeds" in text
    assert "95 % interval, by 1,000 bootstrap resamples" in text


def test_building_again_changes_no_byte(site: Path, site_store: Path, drawn: Drawn, tmp_path: Path) -> None:
    build_site(site_store, tmp_path, drawn, REPORTED)
    assert files(tmp_path) == files(site)
    build_site(site_store, tmp_path, drawn, REPORTED)
    assert files(tmp_path) == files(site)


def test_films_that_may_no_longer_be_shown_are_removed(site: Path, site_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    shutil.copytree(site, out)
    (out / "notes.txt").write_text("somebody's own")
    assert list(out.glob("films/*/*.jpg"))
    build_site(site_store, out, None, REPORTED)
    assert not list(out.glob("films/*/*.jpg"))
    assert "Films are drawn where" in (out / "skull-official.html").read_text()
    assert (out / "notes.txt").is_file()


def test_a_private_set_shows_no_film(site: Path, drawn: Drawn) -> None:
    text = (site / "clinic-official.html").read_text()
    assert {dataset.name for dataset in drawn.asked} == {"skull"}
    assert not (site / "films" / "clinic").exists()
    assert "Films of a private set are never shown." in text
    assert "<svg viewBox" not in text


def test_without_films_the_site_is_the_charting_library_and_little_more(site: Path) -> None:
    sizes = {name: len(content) for name, content in files(site).items()}
    assert sizes.pop("plotly.min.js") < 5_000_000
    assert sum(sizes.values()) < 1_000_000


def test_the_error_curve_holds_the_scores(site_store: Path) -> None:
    board = next(board for board in read_boards(site_store, []) if board.protocol == "3-fold")
    row = board.ranked[0]
    predicted = RunPredictions().row(row, "test")
    assert predicted is not None
    errors = predicted.errors("mm")
    assert float(np.mean(errors)) == pytest.approx(row.value("mre_mm"), rel=1e-6)
    summary = summarise(predicted, "mm")
    assert summary is not None
    figure = error_curves("k", [Series(row, Style(COLOURS[0]), summary)], "mm")
    curve = figure.spec["data"][0]
    for share in (0, 25, 50, 90, 100):
        assert curve["x"][curve["y"].index(share)] == pytest.approx(np.percentile(errors, share), rel=1e-3)


def test_the_curve_of_films_holds_the_stored_scores(site_store: Path) -> None:
    board = next(board for board in read_boards(site_store, []) if board.protocol == "3-fold")
    column = next(column for column in board.columns if column.name == "nme")
    row = board.ranked[0]
    predicted = RunPredictions().row(row, "test")
    assert predicted is not None
    scores = np.array([score.value for score in CaseScores().of_row(row, "test", "nme").values()])
    assert scores.mean() == pytest.approx(row.value("nme"), rel=1e-6)
    summary = summarise(predicted, "mm")
    assert summary is not None
    series = [Series(row, Style(COLOURS[0]), summary)]
    figure = film_curves("k", series, [[*scores, np.nan]], column)
    assert figure is not None
    curve = figure.spec["data"][0]
    assert curve["x"][curve["y"].index(50)] == pytest.approx(np.median(scores), rel=1e-3)
    assert film_curves("k", series, [[np.nan]], column) is None


def test_predictions_are_read_whatever_the_order_of_their_rows(tmp_path: Path) -> None:
    frame = certain(noisy(1.0))
    frame.to_parquet(tmp_path / "a.parquet")
    frame.sort_values("case", ascending=False, kind="stable").to_parquet(tmp_path / "b.parquet")
    one, other = (read_predictions(tmp_path / f"{name}.parquet")["test"] for name in "ab")
    assert one.cases == other.cases == tuple(sorted(frame["case"].unique()))
    np.testing.assert_array_equal(one.points, other.points)
    np.testing.assert_array_equal(one.points.reshape(-1, 2), frame[["x", "y"]].to_numpy())


def test_a_region_holds_the_probability_of_its_gaussian(tmp_path: Path) -> None:
    frame = noisy(0.0).assign(cov_xx=4.0, cov_xy=0.0, cov_yy=4.0)
    frame["x"] += 2 * np.sqrt(-2 * np.log(0.5))  # where half of the probability lies nearer
    frame.to_parquet(tmp_path / "a.parquet")
    np.testing.assert_allclose(region_probability(read_predictions(tmp_path / "a.parquet")["test"]), 0.5)


def test_best_median_and_worst_case_are_those_of_the_first_seed(site_store: Path) -> None:
    board = next(b for b in read_boards(site_store, []) if b.dataset == "skull" and b.protocol == "official")
    row = next(row for row in board.ranked if row.variant == "mnv2")
    predicted = RunPredictions().row(row, "test")
    assert predicted is not None
    errors = predicted.errors("mm")
    means = errors[:12].mean(axis=1)
    found = extremes(Answered(row, predicted, errors))
    assert len(errors) == 24
    assert found == {"best": means.argmin(), "median": np.argsort(means)[5], "worst": means.argmax()}


def test_the_front_is_what_nobody_beats_in_both(site_store: Path) -> None:
    board = next(b for b in read_boards(site_store, []) if b.dataset == "skull" and b.protocol == "official")
    costs = dict(zip((row.label for row in board.ranked), (50.0, 10.0, 20.0, 1.0), strict=True))
    figure = pareto("k", board, ("Time", "ms"), costs, Styles())
    assert figure is not None
    ranked = [row.label for row in board.ranked]
    assert figure.spec["data"][1]["customdata"] == [ranked[3], ranked[1], ranked[0]]


def test_no_two_rows_look_alike_and_a_row_looks_the_same_whoever_asks() -> None:
    styles = Styles(read_published(PUBLISHED))
    labels = [f"row{place}" for place in range(12)]
    labels += sorted({row.label for board in read_published(PUBLISHED) for row in board.ranked if row != board.floor})
    assert len(labels) == 30
    looks = [styles(label, label) for label in labels]
    assert len(set(looks)) == 30
    assert len({(look.colour, look.symbol) for look in looks}) == 30, "where only points are drawn, too"
    assert looks == [styles(label, label) for label in labels]


def test_the_spread_over_films_is_drawn_from_their_scores(site_store: Path) -> None:
    board = next(b for b in read_boards(site_store, []) if b.dataset == "skull" and b.protocol == "official")
    (first, second), predictions = board.ranked[:2], RunPredictions()
    series = []
    for row in (first, second):
        predicted = predictions.row(row, "test")
        summary = predicted and summarise(predicted, "mm")
        assert summary is not None
        series.append(Series(row, Style(COLOURS[0]), summary))
    scores = [ranking_scores(board, row, None) for row in (first, second)]
    figure = film_spread("k", series, scores, board.columns[0])
    assert figure is not None
    better = sum(scores[0][film].value < scores[1][film].value for film in scores[0])
    assert f"{first.label} is better than {second.label} on {better} of 12 films" in figure.summary
    values = [score.value for score in scores[0].values()]
    violin = figure.spec["data"][0]
    assert (violin["x"][0], violin["x"][20]) == pytest.approx(np.quantile(values, (0.01, 0.5)), rel=0.01)
    assert figure.table.rows[0].cells[2].sort == pytest.approx(np.median(values))
    assert film_spread("k", series, [{}, {}], board.columns[0]) is None


def test_coverage_comes_from_the_board_where_no_curve_is_published() -> None:
    board = next(b for b in read_published(PUBLISHED) if b.dataset == "aasce")
    rows = [row for row in board.ranked if "coverage_50" in row.scores]
    summary = RowSummary(("a",), tuple(map(float, range(101))), (1.0,), (1,), (), ())
    figure = calibration_curves("k", [Series(row, Style(COLOURS[0]), summary) for row in rows])
    assert figure is not None
    curves = figure.spec["data"][1:]
    assert len(curves) == len(rows) == 13
    assert curves[0]["x"] == [0, 50, 90, 95]
    assert curves[0]["y"][1] == pytest.approx(rows[0].value("coverage_50"), rel=1e-3)
    off = [np.mean([abs(row.value(f"coverage_{level}") - level) for level in (50, 90, 95)]) for row in rows]
    assert f"{rows[int(np.argmin(off))].label} is closest to the diagonal, {min(off):.1f} points" in figure.summary
    assert "only 50, 90, 95 % are known" in figure.note
    blank = [Series(row, Style(COLOURS[0]), summary) for row in board.ranked if row not in rows]
    assert calibration_curves("k", blank) is None


def contrast(colour: str, other: str = "#ffffff") -> float:
    """The contrast of two colours (WCAG 2.2)."""

    def luminance(text: str) -> float:
        parts = np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(colour), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_lines_and_texts_stand_out_enough(site: Path) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", (site / "site.css").read_text(), re.DOTALL)
    for block, lines in ((light, COLOURS), (dark, ON_DARK)):
        found = dict(re.findall(r"--(\w+[\w-]*): (#[0-9a-f]{6})", block))
        paper = found["paper"]
        assert all(contrast(colour, paper) >= 3 for colour in (*lines, FLOOR_COLOUR))
        behind = [paper, *(found[name] for name in ("faint", "reported", "hover", "t0", "t1", "t2", "t4"))]
        texts = [found[name] for name in ("ink", "soft", "accent")]
        assert all(contrast(text, colour) >= 4.5 for text in texts for colour in behind)
        assert all(contrast(found[name], found[f"{name}-bg"]) >= 4.5 for name in ("warn", "red", "green", "blue"))


def test_the_charts_are_plain_json(site: Path) -> None:
    for path in site.glob("*.html"):
        for text in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text(), re.DOTALL):
            assert {"data", "layout"} <= json.loads(text).keys()


def case_data(site: Path, name: str) -> dict[str, Any]:
    """What the browser of cases shows."""
    text = (site / "cases" / name).read_text()
    return dict(json.loads(text.removeprefix("window.caseData = ").removesuffix(";\n")))


def unpacked(text: str, step: float) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<i2").reshape(-1, 2) * step


def test_the_browser_of_cases_has_every_films_points_truth_and_score(site: Path, site_store: Path) -> None:
    data = case_data(site, "skull-official-cases-1.js")
    board = next(b for b in read_boards(site_store, []) if b.dataset == "skull" and b.protocol == "official")
    assert [row["label"] for row in data["rows"]] == [row.label for row in board.ranked]
    predicted = RunPredictions().row(board.ranked[0], "test")
    assert predicted is not None
    assert [case["id"] for case in data["cases"]] == list(predicted.cases)
    errors = predicted.errors("mm")
    for place, case in enumerate(data["cases"]):
        np.testing.assert_allclose(unpacked(case["points"][0], data["step"]), predicted.points[place], atol=0.01)
        np.testing.assert_allclose(unpacked(case["truth"], data["step"]), predicted.truth[place], atol=0.01)
        assert case["scores"][0] == pytest.approx(errors[place].mean(), rel=1e-3)
        assert (site / case["image"]).is_file()


def test_nothing_of_a_private_sets_films_is_in_the_browser_of_cases(site: Path) -> None:
    assert not list(site.glob("clinic*cases*"))
    assert not [path for path in (site / "cases").iterdir() if "clinic" in path.read_text()]


def test_drawn_films_are_called_so_and_real_ones_are_not(site: Path, site_store: Path) -> None:
    boards = read_boards(site_store, [])
    assert banners(boards) == ()
    assert banners([replace(boards[0], phantom=True)]) == (PHANTOMS,)
    assert banners([replace(boards[0], phantom=True), boards[1]]) == (SOME_PHANTOMS,)
    assert "banner" not in (site / "index.html").read_text()


def test_a_card_says_who_leads_with_ties_floor_and_papers(site: Path) -> None:
    text = (site / "index.html").read_text()
    card = re.search(r'<article class="verdict" aria-label="skull · official · test">(.*?)</article>', text, re.DOTALL)
    assert card is not None
    words = html.unescape(re.sub(r"<[^>]+>", " ", card[1]))
    for said in (
        "posenet leads",
        "no other row",
        "0.75 mm over res50; significant (corrected p 0.003)",
        "the leader is significantly better (corrected p",
        "Rival <b>",
    ):
        assert said in " ".join(words.split())


def test_a_methods_page_sets_each_results_own_hyper_parameters_beside_the_methods(tmp_path: Path) -> None:
    build_published_site(PUBLISHED, tmp_path)
    text = (tmp_path / "method-farnet.html").read_text()
    (line,) = re.findall(r"<tr[^>]*>\s*<th scope=\"row\"[^>]*>width.*?</tr>", text, flags=re.DOTALL)
    cells = [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", line, flags=re.DOTALL)]
    assert cells[0] == "width"
    assert "256" in cells
    assert "64" in cells


def test_the_published_site_needs_no_store_no_film_and_little_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["site", "--published", "--out", "here"]) == 0
    built = files(tmp_path / "here")
    assert sum(map(len, built.values())) < 10_000_000
    assert not [name for name in built if name.endswith(".jpg")]
    assert all(case["truth"] is None for case in case_data(tmp_path / "here", "isbi2015-official-cases-1.js")["cases"])
    page = Page(tmp_path / "here" / "aasce-official.html")
    charts = {attributes["id"].removeprefix("s1-") for attributes in page.all("figure")}
    assert charts >= {"ced", "groups", "calibration", "landmarks", "spread"}
    assert "s1-films" not in [attributes.get("id") for attributes in page.all("section")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data-root", "nowhere"], "nowhere is no folder"),
        (["--published", "--data-root", "."], "leave out --data-root"),
    ],
)
def test_a_data_root_that_cannot_be_used_is_an_error(
    arguments: list[str], said: str, site_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["site", "--store", str(site_store), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site", "--store", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "run `osteomark score" in capsys.readouterr().err


def test_home_stands_against_away_on_the_board_and_on_its_card(site: Path) -> None:
    text = (site / "skull-official.html").read_text()
    section = text[text.index('id="s1-away"') :]
    assert "Trained on skull, tested on elsewhere" in section and "Skulls &lt;b&gt;" in section
    assert "By the intervals of their growth 1 of 2 methods are worse away. Best away: posenet." in section
    assert "Readers of the other site differ from each other, in the mean, by a and b: 0.8 mm." in section
    index = (site / "index.html").read_text()
    assert (
        '<a href="skull-official.html#s1-away">posenet&#39;s MRE on Skulls &lt;b&gt;: 1.50 times [1.30, 1.70]</a>'
        in index
    )
    assert index.count("-away") == 1
    assert "-away" not in (site / "skull-3-fold.html").read_text()
    assert (site / "exports" / "skull-official-on-elsewhere-all-other.csv").is_file()


def test_a_dumbbell_goes_from_home_to_away_with_both_intervals(site_store: Path) -> None:
    (board,) = read_external(site_store)
    chart = dumbbells(board, "x", Styles())
    assert chart is not None
    first, second = chart.spec["data"]
    assert first["name"] == "posenet" and first["x"] == [1.0, 1.5] and first["y"] == ["posenet"] * 2
    assert first["error_x"]["array"] == [0.2, 0.2] and first["error_x"]["arrayminus"] == [0.1, 0.1]
    assert first["marker"]["symbol"] == ["circle-open", "circle"] and second["x"] == [4.0, 4.4]
    assert [cell.text for cell in chart.table.rows[0].cells] == ["posenet", "1.00", "1.50"]


def test_pixels_of_two_sites_are_not_drawn_together(site_store: Path) -> None:
    (board,) = read_external(site_store)
    pixels = board._replace(columns=(board.columns[0]._replace(unit="px"),))
    assert dumbbells(pixels, "x", Styles()) is None
