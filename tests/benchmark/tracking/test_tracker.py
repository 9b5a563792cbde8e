import logging
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from benchmark.cell import Budget, Cell
from benchmark.tracking.push import is_trial
from benchmark.tracking.tracker import Identity, Tracker, fit, has_key, is_wanted
from tests.benchmark.tracking.offline_runs import offline_runs

CELL = Cell("aasce", "official", "main", "posenet", "posenet-l2", 3, (("lr", 0.25),), Budget("reduced", epochs=2))


def identity(name: str) -> Identity:
    return Identity(name, f"run of {name}", "aasce/official", name)


def test_a_run_says_what_it_is(offline: Path) -> None:
    with Tracker(offline, Identity.of(CELL, "data", private=False)):
        pass
    (found,) = offline_runs(offline, 1)
    assert found.run.display_name == f"aasce/official/main/posenet-l2/seed3-{CELL.key('data')}"
    assert (found.run.project, found.run.run_group, found.run.job_type) == ("osteomark", "aasce/official", "posenet-l2")
    assert list(found.run.tags) == ["aasce", "official", "main", "posenet", "reduced (2 epochs/stage)", "seed 3"]
    assert (found.config["hparams"], found.config["budget"]["epochs"], found.config["seed"]) == ({"lr": 0.25}, 2, 3)
    assert found.exit_code == 0


def test_the_id_belongs_to_the_cell_and_its_data() -> None:
    first = Identity.of(CELL, "data", private=False).id
    assert Identity.of(CELL, "data", private=True).id == first
    assert Identity.of(CELL, "other data", private=False).id != first
    assert first.isalnum()


def test_long_names_are_cut_to_what_the_service_takes_and_stay_apart() -> None:
    cells = [Cell("d" * 90, "p" * 90, "main", "m", f"{'v' * 80}{end}", 0) for end in "ab"]
    found = [Identity.of(cell, "data", private=False) for cell in cells]
    for cell, one in zip(cells, found, strict=True):
        assert max(len(one.id), len(one.name), len(one.group)) <= 128
        assert max(len(one.job_type), *map(len, one.tags)) <= 64
        assert one.name.endswith(f"/seed0-{cell.key('data')}")
    assert found[0].job_type != found[1].job_type
    assert found[0].group == found[1].group
    assert fit("a" * 64, 64) == "a" * 64
    assert len(fit("a" * 65, 64)) == 64


def test_two_open_runs_of_one_process_stay_separate(offline: Path) -> None:
    first, second = Tracker(offline, identity("posenet")), Tracker(offline, identity("mnv2"))
    second.log(1, {"val/radial_error": 7.0})
    first.summarize({"test/mre_px": 3.0, "test/rho": float("nan")})
    first.finish()
    second.finish()
    found = {run.run.run_id: run for run in offline_runs(offline, 2)}
    assert "val/radial_error" not in found["posenet"].summary
    assert found["mnv2"].summary["val/radial_error"] == {"min": 7.0}
    assert found["posenet"].summary["test/mre_px"] == 3.0
    assert not {"test/mre_px", "test/rho"} & found["mnv2"].summary.keys()
    assert "test/rho" not in found["posenet"].summary


def test_the_summary_keeps_the_best_validation_and_the_last_loss(offline: Path) -> None:
    with Tracker(offline, identity("posenet")) as tracker:
        for step, (loss, error) in enumerate([(3.0, 9.0), (2.0, 5.0), (1.0, 6.0)], 1):
            tracker.log(step, {"train/loss": loss, "val/radial_error": error, "lr": float("nan")})
    (found,) = offline_runs(offline, 1)
    assert found.summary["val/radial_error"] == {"min": 5.0}
    assert found.summary["train/loss"] == {"last": 1.0}
    assert found.steps == [1, 2, 3]
    assert "lr" not in found.history[0][1]


def test_a_block_that_raises_marks_the_run_as_failed(offline: Path) -> None:
    with pytest.raises(RuntimeError, match="diverged"), Tracker(offline, identity("posenet")):
        raise RuntimeError("diverged")
    (found,) = offline_runs(offline, 1)
    assert found.exit_code == 1


def wandb_that(monkeypatch: pytest.MonkeyPatch, init: object) -> None:
    module = ModuleType("wandb")
    module.Settings, module.init = SimpleNamespace, init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)


def test_a_failure_of_wandb_is_logged_once_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: object) -> None:
        raise OSError("no space left on device")

    wandb_that(monkeypatch, refuse)
    with caplog.at_level(logging.WARNING), Tracker(tmp_path, identity("posenet")) as tracker:
        tracker.log(1, {"train/loss": 1.0})
        tracker.summarize({"test/mre_px": 1.0})
    assert caplog.text.count("no space left") == 1
    assert tracker.failure == "no space left on device"


def test_a_failure_in_the_middle_ends_the_tracking_of_that_run_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Run:
        calls = 0

        def define_metric(self, *_: object, **__: object) -> None:
            """Take it."""

        def log(self, values: dict[str, float], step: int) -> None:
            Run.calls += 1
            raise RuntimeError("the service is gone")

    wandb_that(monkeypatch, lambda **_: Run())
    with Tracker(tmp_path, identity("posenet")) as tracker:
        for step in range(3):
            tracker.log(step, {"train/loss": 1.0})
    assert Run.calls == 1
    assert caplog.text.count("the service is gone") == 1


def test_a_failure_tells_nothing_of_a_private_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: object) -> None:
        raise OSError("/hospital/Zerberus")

    wandb_that(monkeypatch, refuse)
    tracker = Tracker(tmp_path, identity("posenet")._replace(private=True))
    assert "Zerberus" not in caplog.text + tracker.failure
    assert tracker.failure == "OSError"


def test_a_trial_of_a_sweep_is_one_cell_under_the_id_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "left over")
    assert Identity.of(CELL, "data", private=False).id != "left over"
    assert not is_trial(5)
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "trial7")
    assert Identity.of(CELL, "data", private=False).id == "trial7"
    assert is_trial(1)
    with pytest.raises(ValueError, match="a trial of a sweep is one cell, but these are 5; name one method"):
        is_trial(5)


def test_tracking_is_on_by_default_only_with_a_key(
    no_key: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not has_key()
    assert not is_wanted()
    assert is_wanted("wandb")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert is_wanted()
    assert not is_wanted("none")
    assert not is_wanted(private=True)
    assert is_wanted("wandb", private=True)
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert is_wanted()
