"""What every method promises, checked on every discovered method (a new plugin is tested for free), and the checks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from benchmark.contract import checks
from benchmark.contract.checks import CHECKS, STATIC, Check, ContractError
from benchmark.contract.results import check_results, in_words
from benchmark.contract.tiny_films import SCHEMA
from datamodules.base import LandmarkSchema
from methods import methods_of_file
from methods.base import Batch, Method, Paper, Prediction
from methods.components.lengths import Follows

PLUGINS = Path(__file__).parents[1] / "benchmark" / "plugins"
SIZE = 32


@pytest.mark.parametrize("check", [*STATIC, *CHECKS], ids=in_words)
def test_every_method_keeps_the_contract(method_class: type[Method], schema: LandmarkSchema, check: Check) -> None:
    if check in CHECKS and (reason := method_class.unsupported(schema)):
        pytest.skip(reason)
    check(method_class, schema)


class Kept(Method):
    """A regressor of one layer that keeps the contract."""

    paper = Paper("A method of the tests")
    variants: ClassVar = {"kept": {}}
    smoke: ClassVar[dict[str, Any]] = {}

    def __init__(self, schema: LandmarkSchema, epochs: int = 1, lr: float = 1e-3, batch_size: int = 4) -> None:
        super().__init__(schema)
        self.input_size, self.epochs, self.lr, self.batch_size = (SIZE, SIZE), epochs, lr, batch_size
        self.layer = nn.Linear(SIZE * SIZE, 2 * len(schema))
        self.register_buffer("seen", torch.zeros(()))

    def loss(self, batch: Batch) -> Tensor:
        distance = (self.predict(batch).points - batch.points)[batch.visible]
        return distance.square().sum() / max(1, len(distance))

    def predict(self, batch: Batch) -> Prediction:
        points = self.layer(batch.image.flatten(1).float() / 255).unflatten(1, (-1, 2))
        return Prediction(points + SIZE / 2)


class NoPaper(Kept):
    """Comes from nowhere."""

    paper = Paper("")


class NoSmoke(Method):
    """Has no small size."""

    paper = Paper("A method of the tests")
    variants: ClassVar = {"no-smoke": {}}


class Untyped(Kept):
    """Has a hyper-parameter without a type."""

    def __init__(self, schema: LandmarkSchema, width=3) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
        super().__init__(schema)


class NoDefault(Kept):
    """Has a hyper-parameter without a value."""

    def __init__(self, schema: LandmarkSchema, width: int) -> None:
        super().__init__(schema)


class Misspelt(Kept):
    """Sets what the constructor does not take."""

    variants: ClassVar = {"misspelt": {"wdith": 3}}


class Nowhere(Kept):
    """Trains otherwise on a dataset that is not there."""

    settings: ClassVar = {"hnad": {"lr": 1.0}}


class NoProtocol(Kept):
    """Trains otherwise under a protocol that is not there."""

    settings: ClassVar = {"hand/4-fold": {"lr": 1.0}}


class Infinite(Kept):
    """Divides by nothing."""

    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) / 0


class Poisoned(Kept):
    """Counts missing points."""

    def loss(self, batch: Batch) -> Tensor:
        return (self.predict(batch).points - batch.points.nan_to_num(torch.inf)).square().nanmean()


class Lazy(Kept):
    """Never uses one of its layers."""

    def __init__(self, schema: LandmarkSchema) -> None:
        super().__init__(schema)
        self.unused = nn.Linear(2, 2)


class Short(Kept):
    """Forgets a landmark."""

    def predict(self, batch: Batch) -> Prediction:
        return Prediction(super().predict(batch).points[:, 1:])


class Indefinite(Kept):
    """Has covariances that are none."""

    def predict(self, batch: Batch) -> Prediction:
        points = super().predict(batch).points
        return Prediction(points, -torch.eye(2).expand(*points.shape, 2))


class Peeking(Kept):
    """Answers the truth."""

    def predict(self, batch: Batch) -> Prediction:
        return Prediction(super().predict(batch).points + batch.points.nan_to_num())


class Mapping(Kept):
    """Maps its answer to the film itself."""

    def predict(self, batch: Batch) -> Prediction:
        return Prediction(super().predict(batch).points * batch.to_image[:, None, :1, 0])


class Forgetful(Kept):
    """Keeps what it fitted where no checkpoint has it."""

    fitted = 0.0

    def prepare(self, train: object) -> None:
        self.fitted = 5.0

    def predict(self, batch: Batch) -> Prediction:
        return Prediction(super().predict(batch).points + self.fitted)


class Moody(Kept):
    """Draws random numbers that no seed governs."""

    draws = 0

    def loss(self, batch: Batch) -> Tensor:
        Moody.draws += 1
        return super().loss(batch) + Moody.draws


class Stubborn(Kept):
    """Goes uphill."""

    def loss(self, batch: Batch) -> Tensor:
        loss = super().loss(batch)
        return 2 * loss.detach() - loss


class Counting(Kept):
    """Counts how often it was asked."""

    def predict(self, batch: Batch) -> Prediction:
        self.seen += 1
        return super().predict(batch)


BROKEN = [
    (NoPaper, checks.names_its_paper_and_has_docstrings, "names no title"),
    (NoSmoke, checks.has_smoke_settings, "`smoke` is not set"),
    (Untyped, checks.types_every_hyper_parameter_and_gives_it_a_default, "without a type: width"),
    (NoDefault, checks.types_every_hyper_parameter_and_gives_it_a_default, "without a default: width"),
    (Misspelt, checks.uses_hyper_parameters_of_its_signature, "does not take wdith"),
    (Nowhere, checks.has_settings_of_datasets_that_exist, "no dataset 'hnad'"),
    (NoProtocol, checks.has_settings_of_datasets_that_exist, "hand has 3-fold"),
    (Infinite, checks.has_a_finite_loss_in_every_variant, "not finite"),
    (Poisoned, checks.survives_a_batch_without_visible_points, "not finite where no point is visible"),
    (Lazy, checks.gives_every_parameter_a_gradient, "no gradient reaches unused.weight"),
    (Short, checks.answers_every_landmark_in_float, "shape (4, 11, 2), not (4, 12, 2)"),
    (Indefinite, checks.answers_every_landmark_in_float, "eigenvalue"),
    (Peeking, checks.predicts_from_the_film_unless_it_says_oracle, "the truth"),
    (Mapping, checks.stores_points_that_follow_to_image, "to_image"),
    (Forgetful, checks.predicts_the_same_from_a_checkpoint, "in buffers"),
    (Moody, checks.repeats_itself_from_a_seed, "two losses from one seed differ"),
    (Stubborn, checks.learns_one_batch, "16 steps"),
    (Counting, checks.changes_nothing_when_it_predicts, "`predict` changes seen"),
]


@pytest.mark.parametrize("check", [*STATIC, *CHECKS], ids=in_words)
def test_a_sound_method_passes_every_check(check: Check) -> None:
    check(Kept, SCHEMA)


@pytest.mark.parametrize(("broken", "check", "sentence"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_promise_is_named(broken: type[Method], check: Check, sentence: str) -> None:
    with pytest.raises(ContractError) as caught:
        check(broken, SCHEMA)
    assert sentence in str(caught.value)


def test_every_check_but_one_is_broken_by_a_method_of_these_tests() -> None:
    tested = {check for _, check, _ in BROKEN}
    assert {*STATIC, *CHECKS} - tested == {checks.has_lengths_that_follow_sizes_of_its_signature}


def test_lengths_that_follow_nothing_are_named() -> None:
    class Lost(Kept):
        """Has a length of a size that it does not have."""

        def __init__(self, schema: LandmarkSchema, sigma: Annotated[float, Follows("crop_size")] = 3.0) -> None:
            super().__init__(schema)

    with pytest.raises(ContractError, match="follows crop_size"):
        checks.has_lengths_that_follow_sizes_of_its_signature(Lost, SCHEMA)


def test_what_a_method_raises_is_told_with_its_line() -> None:
    (broken,) = methods_of_file(PLUGINS / "broken.py")
    found = {result.check: result for result in check_results(broken)}
    result = found[in_words(checks.learns_one_batch)]
    assert result.status == "fail"
    assert re.fullmatch(r"broken\.py, line \d+, in loss: RuntimeError: mat1 and mat2 .*", result.reason)


def test_what_the_class_states_wrongly_is_said_before_anything_is_built() -> None:
    found = {result.check: result for result in check_results(Misspelt)}
    assert found[in_words(checks.uses_hyper_parameters_of_its_signature)].status == "fail"
    assert {found[in_words(check)].status for check in CHECKS} == {"skip"}


def test_a_schema_that_a_method_cannot_have_is_no_failure() -> None:
    (grouped,) = methods_of_file(PLUGINS / "groups_only.py")
    found = list(check_results(grouped, replace(SCHEMA, groups={})))
    assert {result.reason for result in found if result.status == "skip"} == {"needs landmarks grouped into vertebrae"}
    assert "fail" not in {result.status for result in found}


def test_a_name_that_another_method_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text((PLUGINS / "oracle.py").read_text().replace('"oracle": {}', '"posenet": {}'))
    (method,) = methods_of_file(tmp_path / "mine.py")
    first = next(check_results(method))
    assert (first.status, first.reason) == ("fail", "posenet.py has the variant 'posenet', too; choose another name.")
