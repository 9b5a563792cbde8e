from pathlib import Path

import pytest

from leaderboards.boards.reported import Reported, load_reported, own_numbers

TABLE = """
papers:
  - paper: Doe 2020
    url: https://example.org
    tables:
      - table: 3
        dataset: isbi2015
        protocol: official
        test_set: test1
        columns: [mre_mm, sdr_2mm]
        variants: {Net: net}
        note: of all rows
        notes: {Net: of one}
        rows:
          Net: [1.5, null]
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_row_of_a_table_carries_its_source(tmp_path: Path) -> None:
    (row,) = load_reported(written(tmp_path / "a.yaml", TABLE))
    expected = ("isbi2015", "official", "test1", "Net", "net", {"mre_mm": 1.5}, "Doe 2020", "https://example.org", "3")
    assert row == Reported(*expected, "of all rows of one")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[1.5, null]", "[1.5]", "1 values for 'Net', but 2 columns"),
        ("protocol:", "protocoll:", "unknown key 'protocoll'"),
        ("        test_set: test1\n", "", "lacks the key 'test_set'"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = written(tmp_path / "a.yaml", TABLE.replace(old, new))
    with pytest.raises(ValueError, match=f"table 3 of Doe 2020.*{message}"):
        load_reported(path)


def test_the_papers_numbers_are_in() -> None:
    rows = {(r.paper, r.table, r.test_set, r.method): r for r in load_reported()}
    farnet = rows["Ao and Wu 2023", "3", "test2", "FARNet"]
    assert farnet.values == {"mre_mm": 1.42, "sdr_2mm": 77.0, "sdr_2.5mm": 84.42, "sdr_3mm": 89.47, "sdr_4mm": 95.21}
    assert rows["Ao and Wu 2023", "4", "test", "Payer et al."].values["mre_mm"] == 0.66
    yi = rows["Wang et al. 2022", "II", "test", "Yi et al."]
    assert yi.values == {"mse_sum": 3.2e-3, "parameters": 24.21e6, "seconds_per_epoch": 33.69}
    assert rows["Fard et al. 2022", "7", "LCF", "PoseNet (IC-Loss)"].values["nme"] == 6.5
    assert rows["An et al. 2022", "7", "test", "CoordConv and PAF"].values["d_total"] == 13.0244


def test_a_variants_numbers_are_those_of_its_rows_on_the_same_board(tmp_path: Path) -> None:
    rows = load_reported(written(tmp_path / "a.yaml", TABLE))
    assert own_numbers(rows, "net", ("isbi2015", "official", "test1")) == {"mre_mm": 1.5}
    assert own_numbers(rows, "net", ("isbi2015", "official", "test2")) == {}
    assert own_numbers(rows, "net", ("isbi2015", "leak-free", "test1")) == {}
    assert own_numbers(rows, "other", ("isbi2015", "official", "test1")) == {}
