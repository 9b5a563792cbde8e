"""The checks of the method contract: each is a function of a method's class and a schema that fails with a sentence.

`STATIC` checks read the class alone; `CHECKS` construct it at smoke size on tiny films and need a schema that the
method supports.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from lightning import Trainer
from torch import Tensor

import datamodules
from benchmark.contract.tiny_films import build, make_samples
from benchmark.training.arithmetic import lay_out
from benchmark.training.trainer import quiet
from datamodules.base import Batch, LandmarkSchema
from datamodules.components.samples import collate
from methods.base import Method, Prediction
from methods.components.lengths import defaults, lengths

Check = Callable[[type[Method], LandmarkSchema], None]


class ContractError(AssertionError):
    """A method does not do what the contract says; the message is a sentence with the cure."""


def names_its_paper_and_has_docstrings(method_class: type[Method], schema: LandmarkSchema) -> None:
    """A reader knows what a method is without reading its code."""
    del schema
    paper = getattr(method_class, "paper", None)
    _require(paper is not None and bool(paper.title), "`paper` names no title; set `paper = Paper(title, ...)`")
    _require(bool(vars(method_class).get("__doc__")), "the class has no docstring; say what the network is")
    module = inspect.getmodule(method_class)
    _require(bool(module and module.__doc__), "the file has no docstring; begin it with a sentence on the method")


def has_smoke_settings(method_class: type[Method], schema: LandmarkSchema) -> None:
    """There is a size at which the contract can be checked in seconds."""
    del schema
    _require(hasattr(method_class, "smoke"), "`smoke` is not set; give hyper-parameters of a tiny network, or {}")


def types_every_hyper_parameter_and_gives_it_a_default(method_class: type[Method], schema: LandmarkSchema) -> None:
    """The signature is the configuration: defaults are what `budget: paper` trains."""
    del schema
    parameters = list(inspect.signature(method_class).parameters.values())[1:]
    for what, lacking in (("type", "annotation"), ("default", "default")):
        bare = [item.name for item in parameters if getattr(item, lacking) is inspect.Parameter.empty]
        _require(not bare, f"hyper-parameters without a {what}: {', '.join(bare)}")


def uses_hyper_parameters_of_its_signature(method_class: type[Method], schema: LandmarkSchema) -> None:
    """Variants, settings and smoke set what the constructor takes."""
    del schema
    known = set(inspect.signature(method_class).parameters)
    for hparams in (*method_class.variants.values(), *method_class.settings.values(), method_class.smoke):
        unknown = sorted(set(hparams) - known)
        _require(
            not unknown, f"the constructor does not take {', '.join(unknown)}; it takes {', '.join(sorted(known))}"
        )


def has_settings_of_datasets_that_exist(method_class: type[Method], schema: LandmarkSchema) -> None:
    """A misspelt dataset or protocol would leave the paper's settings unused."""
    del schema
    known = {name: [protocol.name for protocol in data.protocols] for name, data in datamodules.discover().items()}
    for key in method_class.settings:
        dataset, _, protocol = key.partition("/")
        _require(dataset in known, f"`settings` names {key!r}, but there is no dataset {dataset!r}")
        there = ", ".join(known[dataset])
        _require(not protocol or protocol in known[dataset], f"`settings` names {key!r}; {dataset} has {there}")


def has_lengths_that_follow_sizes_of_its_signature(method_class: type[Method], schema: LandmarkSchema) -> None:
    """A length in pixels shrinks with a size that is a hyper-parameter, too."""
    del schema
    lacking = sorted(set(lengths(method_class).values()) - set(defaults(method_class)))
    _require(not lacking, f"a length follows {', '.join(lacking)}, which the constructor does not take")


def has_a_finite_loss_in_every_variant(method_class: type[Method], schema: LandmarkSchema) -> None:
    """Films with missing points give a number."""
    for variant in method_class.variants:
        method, batch = _variant(method_class, schema, variant)
        for stage in range(max(1, len(method.stages))):
            method.stage = stage
            _require(bool(method.loss(batch).isfinite()), f"{_named(variant, stage)}: the loss is not finite")


def survives_a_batch_without_visible_points(method_class: type[Method], schema: LandmarkSchema) -> None:
    """Missing points neither count nor poison a gradient."""
    method, _ = _prepared(method_class, schema)
    batch = collate(make_samples(method, missing=1.0))
    for stage in range(len(method.stages)):
        method.stage = stage
        loss = method.loss(batch)
        _require(bool(loss.isfinite()), f"stage {stage}: the loss is not finite where no point is visible")
        torch.autograd.backward(loss)
        poisoned = [name for name, p in method.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        _require(not poisoned, f"stage {stage}: gradients are not finite where no point is visible: {_some(poisoned)}")


def gives_every_parameter_a_gradient(method_class: type[Method], schema: LandmarkSchema) -> None:
    """Nothing that should learn stays as it is; noise leads away from heads that start at zero and from dead units."""
    method, batch = _prepared(method_class, schema)
    trained = {name: (p, p.detach().clone()) for name, p in method.named_parameters() if p.requires_grad}
    reached = dict.fromkeys(trained, False)
    for deviation, stage in product((0.05, 0.3), range(len(method.stages))):
        method.stage = stage
        method.zero_grad()
        for parameter, start in trained.values():
            parameter.data = start + deviation * torch.randn(start.shape)
        torch.autograd.backward(method.loss(batch))
        for name, (parameter, _) in trained.items():
            reached[name] |= parameter.grad is not None and bool(parameter.grad.any())
    lost = [name for name, seen in reached.items() if not seen]
    _require(not lost, f"no gradient reaches {_some(lost)}; use it in the loss, or set requires_grad to False")


def answers_every_landmark_in_float(method_class: type[Method], schema: LandmarkSchema) -> None:
    """A prediction is complete and finite, its covariances are covariances."""
    method, batch = _prepared(method_class, schema)
    prediction = method.eval().predict(batch)
    points, shape = prediction.points, tuple(batch.points.shape)
    _require(tuple(points.shape) == shape, f"`predict` answers points of shape {tuple(points.shape)}, not {shape}")
    _require(points.is_floating_point(), f"`predict` answers points of type {points.dtype}; make them float")
    _require(bool(points.isfinite().all()), "`predict` answers points that are not finite")
    _check_covariance(prediction, (*shape, 2))


def predicts_from_the_film_unless_it_says_oracle(method_class: type[Method], schema: LandmarkSchema) -> None:
    """No prediction changes with the truth; only a variant whose input is an oracle crop may look at it."""
    for variant in method_class.variants:
        method, batch = _variant(method_class, schema, variant)
        method.eval()
        blind = batch._replace(points=torch.full_like(batch.points, torch.nan), visible=torch.zeros_like(batch.visible))
        looks = not torch.equal(method.predict(batch).points, method.predict(blind).points)
        oracle = method.input_spec.is_oracle
        _require(oracle or not looks, f"{variant}: `predict` changes with batch.points, which are the truth")
        _require(looks or not oracle, f"{variant}: `input_spec` says oracle, but `predict` uses no truth")


def stores_points_that_follow_to_image(method_class: type[Method], schema: LandmarkSchema) -> None:
    """`predict` works in network pixels, and the base maps its answer to the film once."""
    method, batch = _prepared(method_class, schema)
    method.eval()
    _, once = method.predict_step(batch, 0)
    _, doubled = method.predict_step(batch._replace(to_image=batch.to_image * 2), 0)
    same = torch.allclose(doubled.points, 2 * once.points, rtol=1e-7, atol=1e-7)
    _require(
        same, "`predict` depends on batch.to_image; answer in pixels of the input and leave the film's to the base"
    )


def predicts_the_same_from_a_checkpoint(method_class: type[Method], schema: LandmarkSchema) -> None:
    """A checkpoint loads with `weights_only=True` and holds all that a prediction needs."""
    method, batch = _prepared(method_class, schema)
    method.eval()
    with TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "method.ckpt"
        trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
        trainer.strategy.connect(method)
        trainer.save_checkpoint(path, weights_only=True)
        loaded = method_class.load_from_checkpoint(path, schema=schema, map_location="cpu", weights_only=True).eval()
    lay_out(loaded)
    same = torch.equal(loaded.predict(batch).points, method.predict(batch).points)
    _require(same, "a checkpoint predicts other points; keep what `prepare` fits and `predict` reads in buffers")


def repeats_itself_from_a_seed(method_class: type[Method], schema: LandmarkSchema) -> None:
    """The same seed gives the same weights and the same loss."""
    first, batch = _prepared(method_class, schema)
    second, _ = _prepared(method_class, schema)
    losses = []
    for method in (first, second):
        torch.manual_seed(3)
        losses.append(method.loss(batch))
    weights = first.state_dict(), second.state_dict()
    differing = [name for name, value in weights[0].items() if not torch.equal(value, weights[1][name])]
    _require(not differing, f"two constructions from one seed differ in {_some(differing)}")
    _require(torch.equal(*losses), "two losses from one seed differ; draw random numbers with torch alone")


def learns_one_batch(method_class: type[Method], schema: LandmarkSchema) -> None:
    """The loss falls within 16 steps of Adam."""
    method, batch = _prepared(method_class, schema)
    for stage in range(len(method.stages)):
        method.stage = stage
        optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
        losses = [_step(method, batch, optimizer) for _ in range(16)]
        fell = min(losses[-3:]) < losses[0]
        _require(fell, f"stage {stage}: 16 steps on one batch lead from a loss of {losses[0]:.4g} to {losses[-1]:.4g}")


def changes_nothing_when_it_predicts(method_class: type[Method], schema: LandmarkSchema) -> None:
    """Predicting moves no weight and no statistic."""
    method, batch = _prepared(method_class, schema)
    method.eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.predict_step(batch, 0)
    changed = [name for name, value in method.state_dict().items() if not torch.equal(before[name], value)]
    _require(not changed, f"`predict` changes {_some(changed)}")


STATIC: Final[tuple[Check, ...]] = (
    names_its_paper_and_has_docstrings,
    has_smoke_settings,
    types_every_hyper_parameter_and_gives_it_a_default,
    uses_hyper_parameters_of_its_signature,
    has_settings_of_datasets_that_exist,
    has_lengths_that_follow_sizes_of_its_signature,
)
"""What is read from the class."""
CHECKS: Final[tuple[Check, ...]] = (
    has_a_finite_loss_in_every_variant,
    survives_a_batch_without_visible_points,
    gives_every_parameter_a_gradient,
    answers_every_landmark_in_float,
    predicts_from_the_film_unless_it_says_oracle,
    stores_points_that_follow_to_image,
    predicts_the_same_from_a_checkpoint,
    repeats_itself_from_a_seed,
    learns_one_batch,
    changes_nothing_when_it_predicts,
)
"""What a constructed method does."""


def _require(kept: bool, sentence: str) -> None:
    if not kept:
        raise ContractError(f"{sentence}.")


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _named(variant: str, stage: int) -> str:
    return f"{variant}, stage {stage}" if stage else variant


def _prepared(method_class: type[Method], schema: LandmarkSchema) -> tuple[Method, Batch]:
    """Return the method itself, prepared, with four films of which a fifth of the points is missing."""
    return _variant(method_class, schema, next(iter(method_class.variants)))


def _variant(method_class: type[Method], schema: LandmarkSchema, variant: str) -> tuple[Method, Batch]:
    method = build(method_class, schema, variant)
    lay_out(method)
    samples = make_samples(method)
    method.prepare(samples)
    return method, collate(samples)


def _check_covariance(prediction: Prediction, shape: tuple[int, ...]) -> None:
    covariance = prediction.covariance
    if covariance is None:
        return
    _require(tuple(covariance.shape) == shape, f"covariances have shape {tuple(covariance.shape)}, not {shape}")
    proper = bool((torch.linalg.eigvalsh(covariance.double()) >= 0).all())
    _require(proper, "a covariance has a negative or undefined eigenvalue")


def _step(method: Method, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
    torch.manual_seed(0)
    loss: Tensor = method.loss(batch)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return float(loss.detach())
