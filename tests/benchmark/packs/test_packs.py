"""A pack is verified as it was made and refused after every kind of edit, re-hashed or not."""

import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from jsonschema import Draft202012Validator

import datamodules
import methods
from benchmark.cell import Budget, Cell, Context
from benchmark.cli.main import main
from benchmark.lookup import effective_hparams, find_variant
from benchmark.packs import pack as packs
from benchmark.packs.submit import nested_scores, pack_run
from benchmark.packs.verify import verify
from benchmark.predictions import ANSWER, CENTRE, CROP, KEY, LABELS, PREDICTIONS
from benchmark.scoring.score import score, score_run
from benchmark.store import HISTORY, RUN, RunRecord, RunStore
from benchmark.training.run_cell import run_cell
from datamodules import DatasetRegistry
from datamodules.components.badges import PRIVATE
from datamodules.phantom.hand.films import write_hand

STEADY = Path(__file__).parents[1] / "plugins" / "steady.py"
Files = dict[str, bytes]
Edit = Callable[[Files], object]


@pytest.fixture(scope="module")
def store(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods' runs on a fold of the hand phantom, on code of some commit."""
    root = tmp_path_factory.mktemp("packs") / "runs"
    context = Context(root, {"hand": phantoms / "hand"}, plugins=(STEADY,))
    for variant in ("steady", "mean_shape"):
        found = find_variant(variant, methods.discover([STEADY]))
        hparams = effective_hparams(found, {})
        cell = Cell("hand", "3-fold", "fold1", found.method, variant, 0, hparams, Budget("test", epochs=1))
        RunStore(root).write(replace(run_cell(cell, context), commit="0" * 40))
    return root


def folder_of(store: Path, variant: str = "steady") -> Path:
    return next(store.glob(f"hand/3-fold/fold1/{variant}/*/{RUN}")).parent


@pytest.fixture(scope="module")
def packed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "steady.zip"
    path.write_bytes(pack_run(folder_of(store), with_truth=True))
    return path


@pytest.fixture
def copied(store: Path, tmp_path: Path) -> Path:
    """A copy of the store, to damage."""
    return Path(shutil.copytree(store, tmp_path / "runs"))


def files_of(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def edited(packed: Path, tmp_path: Path, edit: Edit, *, rehash: bool = True) -> Path:
    files = files_of(packed)
    edit(files)
    if rehash:
        change_json(files, packs.MANIFEST, lambda manifest: manifest.update(files=hashes(files)))
    return zipped(tmp_path / "edited.zip", files)


def hashes(files: Files) -> dict[str, str]:
    return {name: packs.sha256(content) for name, content in files.items() if name != packs.MANIFEST}


def change_json(files: Files, name: str, change: Callable[[dict], object]) -> None:
    content = json.loads(files[name])
    change(content)
    files[name] = json.dumps(content).encode()


def change_table(files: Files, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    table = pd.read_csv(io.BytesIO(files[name]), dtype={"case": "str"})
    files[name] = change(table).to_csv(index=False).encode()


def refusal(path: Path, phantoms: Path) -> str:
    with pytest.raises(ValueError, match=r"[.?]$") as caught:  # a whole sentence
        verify(path, phantoms, plugins=[STEADY])
    return str(caught.value)


def test_a_published_table_of_points_is_told_from_a_pack(tmp_path: Path) -> None:
    path = tmp_path / "points.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"is a table of points, no pack; .* takes the zip file"):
        packs.read_pack(path)


def test_a_pack_is_the_same_every_time_and_holds_no_label(store: Path) -> None:
    folder = folder_of(store)
    content = pack_run(folder)
    assert pack_run(folder) == content
    files = {name: zipfile.ZipFile(io.BytesIO(content)).read(name) for name in packs.FILES if name != packs.TRUTH}
    assert files[RUN] == (folder / RUN).read_bytes()
    assert files[packs.HISTORY] == (folder / HISTORY).read_bytes()
    points = pd.read_csv(io.BytesIO(files[packs.PREDICTIONS]))
    assert list(points.columns) == [*KEY, *ANSWER]
    stored = pd.read_parquet(folder / PREDICTIONS)
    read = packs.read_table("points", files[packs.PREDICTIONS], ANSWER)
    pd.testing.assert_frame_equal(read, stored.set_index(list(KEY))[list(ANSWER)].sort_index(), check_exact=True)
    assert all(label not in text.decode() for label in LABELS for text in files.values())


@pytest.mark.parametrize("variant", ["steady", "mean_shape"])
def test_an_honest_pack_is_verified_from_the_data_and_from_a_trusted_store(
    store: Path, phantoms: Path, tmp_path: Path, variant: str
) -> None:
    path = tmp_path / "pack.zip"
    path.write_bytes(pack_run(folder_of(store, variant)))
    for found in (verify(path, phantoms, plugins=[STEADY]), verify(path, store=store, plugins=[STEADY])):
        assert found.scores == nested_scores(score_run(folder_of(store, variant), DatasetRegistry()))
        assert found.claimed == len(found.scores["test"]) > 10
        assert found.cases == {"test": len(pd.read_parquet(folder_of(store) / PREDICTIONS)["case"].unique())}


def test_a_pack_from_before_centres_and_crops_were_stored_is_verified(
    packed: Path, phantoms: Path, tmp_path: Path
) -> None:
    def age(files: Files) -> None:
        for name in (packs.PREDICTIONS, packs.VALIDATION):
            change_table(files, name, lambda table: table.drop(columns=[*CENTRE, *CROP]))

    assert verify(edited(packed, tmp_path, age), phantoms, plugins=[STEADY]).claimed > 10
    narrow = edited(packed, tmp_path, lambda f: change_table(f, packs.PREDICTIONS, lambda t: t.drop(columns="cov_xx")))
    assert "should have the columns" in refusal(narrow, phantoms)


def test_labels_in_a_pack_must_be_the_datasets(packed: Path, phantoms: Path, tmp_path: Path) -> None:
    assert verify(packed, phantoms, plugins=[STEADY]).claimed > 10

    def to_the_predictions(files: Files) -> None:
        points = pd.read_csv(io.BytesIO(files[packs.PREDICTIONS]), dtype={"case": "str"})
        known = points.set_index(list(KEY))
        change_table(
            files,
            packs.TRUTH,
            lambda t: t.assign(true_x=known["x"].reindex(pd.MultiIndex.from_frame(t[list(KEY)])).to_numpy()),
        )

    assert "true_x of" in refusal(edited(packed, tmp_path, to_the_predictions), phantoms)
    assert "truth.csv should be there" in refusal(edited(packed, tmp_path, lambda f: f.pop(packs.TRUTH)), phantoms)
    halved = edited(packed, tmp_path, lambda f: change_table(f, packs.TRUTH, lambda t: t[: len(t) // 2]))
    assert "labels others" in refusal(halved, phantoms)


def test_a_planted_score_is_refused_with_the_true_one(packed: Path, phantoms: Path, tmp_path: Path) -> None:
    honest = json.loads(files_of(packed)[packs.MANIFEST])["scores"]["test"]["mre_mm"]
    path = edited(
        packed, tmp_path, lambda f: change_json(f, packs.MANIFEST, lambda m: m["scores"]["test"].update(mre_mm=0.5))
    )
    assert refusal(path, phantoms).endswith(
        f"is refused: mre_mm on test should be {honest:.8g} by its predictions, not 0.5."
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda scores: scores["test"].update(mre_mm=None), "mre_mm on test should be"),
        (lambda scores: scores["test"].update(miracle=100.0), "miracle on test should be absent by its predictions"),
        (lambda scores: scores.update(test2=scores["test"]), "claimed test sets should be test, not test, test2"),
        (lambda scores: scores.update(test=dict.fromkeys(scores["test"], 0.0)), "more of its scores are wrong"),
    ],
)
def test_claims_that_no_prediction_bears_are_refused(
    packed: Path, phantoms: Path, tmp_path: Path, change: Callable[[dict], object], found: str
) -> None:
    path = edited(packed, tmp_path, lambda f: change_json(f, packs.MANIFEST, lambda m: change(m["scores"])))
    assert found in refusal(path, phantoms)


def better(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(x=table["x"] + 0.01)


def test_edited_predictions_are_refused_before_and_after_hashing_them_anew(
    packed: Path, phantoms: Path, tmp_path: Path
) -> None:
    def edit(files: Files) -> None:
        change_table(files, packs.PREDICTIONS, better)

    assert "predictions.csv was changed after packing" in refusal(
        edited(packed, tmp_path, edit, rehash=False), phantoms
    )
    assert "by its predictions, not" in refusal(edited(packed, tmp_path, edit), phantoms)


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        (packs.PREDICTIONS, lambda t: t[t["case"] != t["case"].iloc[0]], "predictions.csv should answer"),
        (packs.PREDICTIONS, lambda t: t.iloc[1:], "it lacks"),
        (packs.PREDICTIONS, lambda t: pd.concat([t, t.assign(case=t["case"] + "b")]), "it has"),
        (packs.PREDICTIONS, lambda t: pd.concat([t, t]), "twice"),
        (packs.PREDICTIONS, lambda t: t.assign(test_set="test1"), "it lacks"),
        (packs.PREDICTIONS, lambda t: t.assign(x=float("nan")), "not finite"),
        (packs.PREDICTIONS, lambda t: t.assign(x="left"), "no table of points"),
        (packs.PREDICTIONS, lambda t: t.drop(columns="y"), "should have the columns"),
        (packs.VALIDATION, lambda t: t.iloc[len(t) // 2 :], "validation.csv should answer"),
        (packs.HISTORY, lambda t: pd.concat([t, t]), "epochs in history.csv should be 2, not 4"),
    ],
)
def test_cases_left_out_added_or_unanswered_are_refused(
    packed: Path, phantoms: Path, tmp_path: Path, name: str, change: Callable, found: str
) -> None:
    assert found in refusal(edited(packed, tmp_path, lambda f: change_table(f, name, change)), phantoms)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda run: run["cell"]["budget"].update(epochs=300), "its configuration's hash"),
        (lambda run: run["cell"]["hparams"].update(batch_size=7), "its configuration's hash"),
        (lambda run: run["cell"].update(config="01234567"), "its configuration's hash"),
        (lambda run: run["cell"].update(seed=3), "its run, named by the hash of seed"),
        (lambda run: run.update(fingerprint="f" * 12), "its run, named by the hash of seed"),
        (lambda run: run.update(content="c" * 12), "its films and labels"),
        (lambda run: run["cell"].update(variant="steady-fast"), "its variant of steady should be one of"),
        (lambda run: run["cell"].update(split="fold9"), "its split should be one of fold1, fold2, fold3"),
        (lambda run: run["cell"].update(dataset="../hand"), "there is no dataset"),
        (lambda run: run.update(parameters={"trainable": 1, "keras": 1}), "its parameters should be"),
        (lambda run: run.update(badges=["leak-free"]), "its badges should be none, not leak-free"),
        (lambda run: run.update(epochs=300), "its epochs, by its budget, should be 2, not 300"),
        (lambda run: run.update(input_size=[512, 512]), "its input size"),
        (lambda run: run.update(weights="imagenet"), "its pre-trained weights should be none, not imagenet"),
        (lambda run: run.update(test_sets={"test": 1}), "its test sets"),
        (lambda run: run.update(micro_batch=2), "its micro-batch should be absent, not 2"),
        (lambda run: run.update(status="failed"), "does not fit the schema of a pack: status"),
        (lambda run: run.update(human=True), "never passed on"),
    ],
)
def test_an_edited_run_is_refused(
    packed: Path, phantoms: Path, tmp_path: Path, change: Callable[[dict], object], found: str
) -> None:
    path = edited(packed, tmp_path, lambda f: change_json(f, RUN, change))
    assert found in refusal(path, phantoms)


def forged(packed: Path, tmp_path: Path, change: Callable[[Cell], Cell], **run: object) -> Path:
    """A pack of another cell, with every hash that follows."""

    def edit(files: Files) -> None:
        content = json.loads(files[RUN])
        cell = change(Cell.from_json(content["cell"]))
        change_json(files, RUN, lambda r: r.update(cell=cell.as_json(), **run))
        key = cell.path(content["fingerprint"]).as_posix()
        change_json(files, packs.MANIFEST, lambda m: m.update(run=key))

    return edited(packed, tmp_path, edit)


def test_a_longer_training_whose_hashes_fit_is_refused_by_its_curves(
    packed: Path, phantoms: Path, tmp_path: Path
) -> None:
    path = forged(packed, tmp_path, lambda c: replace(c, budget=replace(c.budget, epochs=150)), epochs=300)
    assert "epochs in history.csv should be 300, not 2" in refusal(path, phantoms)


@pytest.mark.parametrize(
    ("method", "hparams", "found"),
    [
        ("posenet", (("width", 10**6),), "its parameters should be"),
        ("fpn", (("backbone_name", "hf-hub:someone/something"),), "backbone_name should be a plain name"),
        ("posenet", (("depth", 3),), "cannot be built here with its hyper-parameters (TypeError"),
    ],
)
def test_another_network_is_refused_without_memory_or_network(
    packed: Path, phantoms: Path, tmp_path: Path, method: str, hparams: tuple, found: str
) -> None:
    path = forged(packed, tmp_path, lambda c: replace(c, method=method, variant=method, hparams=hparams))
    assert found in refusal(path, phantoms)


def test_settings_that_are_not_the_variants_own_are_named(packed: Path, phantoms: Path, tmp_path: Path) -> None:
    assert not any("differently" in remark for remark in verify(packed, phantoms, plugins=[STEADY]).remarks)
    path = forged(
        packed, tmp_path, lambda c: replace(c, hparams=tuple(sorted({**dict(c.hparams), "delay": 0.1}.items())))
    )
    assert "Set differently from steady's own: delay=0.1." in verify(path, phantoms, plugins=[STEADY]).remarks


def member(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    ("trick", "found"),
    [
        (member("../../run.json"), "holds '../../run.json'; a pack holds nothing but"),
        (member("/etc/passwd"), "holds '/etc/passwd'"),
        (member("c:\\run.json"), "a pack holds nothing but"),
        (member("readme.txt"), "holds 'readme.txt'"),
        (member(packs.TRUTH, stat.S_IFLNK | 0o777), "truth.csv is a link"),
        (member(packs.TRUTH), "truth.csv is not named in pack.json"),
    ],
)
def test_files_that_no_pack_holds_are_refused(
    store: Path, phantoms: Path, tmp_path: Path, trick: zipfile.ZipInfo, found: str
) -> None:
    path = tmp_path / "pack.zip"
    path.write_bytes(pack_run(folder_of(store)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(trick, "/etc/passwd")
    assert found in refusal(path, phantoms)


def test_huge_double_and_broken_files_are_refused(
    packed: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(packed, tmp_path / "pack.zip"))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(RUN, "{}")
    assert "run.json twice" in refusal(path, phantoms)
    path.write_bytes(packed.read_bytes()[:-100])
    assert "not a sound zip file" in refusal(path, phantoms)
    zeros = edited(packed, tmp_path, lambda f: f.update({packs.PREDICTIONS: b"0" * 10**6}))
    monkeypatch.setattr(packs, "LARGEST", 10**5)
    assert "unpacks to more than" in refusal(zeros, phantoms)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"{", "is not JSON"),
        (b"[" * 10**5, "is not JSON"),
        (b'{"scores": {"test": {"mre_px": NaN}}}', "NaN is no number"),
        (b"[]", "does not fit the schema"),
        (b"{}", "does not fit the schema of a pack: the whole: 'format' is a required property"),
    ],
)
def test_a_manifest_that_is_none_is_refused(
    packed: Path, phantoms: Path, tmp_path: Path, content: bytes, found: str
) -> None:
    path = edited(packed, tmp_path, lambda f: f.update({packs.MANIFEST: content}), rehash=False)
    assert found in refusal(path, phantoms)


def test_other_films_are_not_the_packs(packed: Path, store: Path, tmp_path: Path) -> None:
    write_hand(tmp_path / "data" / "hand", films=24, seed=5)
    content = RunRecord.read(folder_of(store) / RUN).content
    assert f"not {content}" in refusal(packed, tmp_path / "data")
    other = tmp_path / "runs"
    shutil.copytree(folder_of(store), other / folder_of(store).relative_to(store))
    record = RunRecord.read(folder_of(other) / RUN)
    RunStore(other).write(replace(record, content="other"))
    with pytest.raises(ValueError, match=f"should be other and .* not {content}"):
        verify(packed, store=other, plugins=[STEADY])


def test_without_truth_or_method_a_pack_cannot_be_verified(packed: Path, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"where is hand.*--data-root"):
        verify(packed, plugins=[STEADY])
    with pytest.raises(ValueError, match="no finished run of hand/3-fold/fold1"):
        verify(packed, store=tmp_path, plugins=[STEADY])
    with pytest.raises(ValueError, match="no method 'steady'"):
        verify(packed, phantoms)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"status": "failed", "reason": "it broke"}, r"is failed \(it broke\)"),
        ({"badges": (PRIVATE,)}, "private data"),
        ({"human": True}, "a reader's points are labels"),
        ({"commit": "1a2b-dirty"}, "--allow-dirty"),
        ({"commit": ""}, "no git"),
    ],
)
def test_runs_that_may_not_be_passed_on_are_not_packed(copied: Path, changes: dict, found: str) -> None:
    record = RunRecord.read(folder_of(copied) / RUN)
    RunStore(copied).write(replace(record, **changes))
    with pytest.raises(ValueError, match=found):
        pack_run(folder_of(copied))


@pytest.mark.parametrize("name", [PREDICTIONS, HISTORY, RUN])
def test_a_run_that_lacks_a_file_is_not_packed(copied: Path, name: str) -> None:
    folder = folder_of(copied)
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.split(".")[0]):
        pack_run(folder)


def test_a_run_whose_record_was_edited_is_not_packed(copied: Path) -> None:
    path = folder_of(copied) / RUN
    honest = path.read_text()
    path.write_text(honest.replace('"seed": 0', '"seed": 7'))
    with pytest.raises(ValueError, match="changed or moved"):
        pack_run(path.parent)
    path.write_text(honest.replace(json.loads(honest)["cell"]["config"], "01234567"))
    with pytest.raises(ValueError, match="states the configuration 01234567"):
        pack_run(path.parent)


def test_a_run_of_a_dataset_that_is_not_known_may_be_private(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datamodules, "discover", lambda: {})
    with pytest.raises(ValueError, match="may be private"):
        pack_run(folder_of(copied))


def test_the_commands_pack_verify_and_refuse(
    store: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = folder_of(store, "mean_shape")
    assert main(["leaderboard", "submit", str(folder)]) == 0
    (path,) = tmp_path.glob("hand-3-fold-fold1-mean_shape-seed0-*.zip")
    assert main(["leaderboard", "verify", path.name, "--data-root", str(phantoms)]) == 0
    printed = capsys.readouterr().out
    assert f"{path.name} is verified." in printed
    assert "Not proven" in printed
    edit = edited(
        path, tmp_path, lambda f: change_json(f, packs.MANIFEST, lambda m: m["scores"]["test"].update(mre_px=0))
    )
    assert main(["leaderboard", "verify", str(edit), "--store", str(store)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_leaderboard_without_a_word_still_builds_the_tables(copied: Path, tmp_path: Path) -> None:
    assert main(["leaderboard", "--store", str(copied), "--out", str(tmp_path / "tables")]) == 0
    assert (tmp_path / "tables" / "index.md").is_file()
    assert score(copied).is_file()


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(packs.schema())
