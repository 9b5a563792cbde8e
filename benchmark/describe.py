"""What a method weighs: parameters, operations and input size at a number of landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

import datamodules
from benchmark.lookup import effective_hparams, find_variant
from benchmark.training.measure import count_flops
from datamodules.base import LandmarkSchema, Sample
from datamodules.components.samples import collate
from methods.base import Method

PREPARATION_FILMS = 32


def describe_method(
    name: str,
    points: int,
    known: Mapping[str, type[Method]],
    schema: LandmarkSchema | None = None,
    dataset: str = "",
    protocol: str = "",
) -> dict[str, Any]:
    """Describe a method or a variant at a number of landmarks.

    Args:
        name: Of a method or a variant.
        points: Number of landmarks.
        known: Every method by name.
        schema: The landmarks, instead of any so many.
        dataset: Name of the dataset that it is described for, with the paper's settings there.
        protocol: Of that dataset.

    Returns:
        `name`, `method`, `hparams`, `variants`, `settings` (the paper's, per dataset), `parameters`, `flops` (2 x MAC,
        one film), `input_size` (height, width), `paper` and `differs`.

    Raises:
        ValueError: There is no such method, or it cannot have so many landmarks.
    """
    variant = find_variant(name, known)
    hparams = dict(effective_hparams(variant, {}, variant.method_class.paper_settings(dataset, protocol)))
    if schema is not None and (reason := variant.method_class.unsupported(schema)):
        raise ValueError(f"{variant.name} cannot have these {len(schema)} landmarks: {reason}")
    method = variant.method_class(_schema(variant.method_class, points) if schema is None else schema, **hparams)
    spec, paper = method.input_spec, variant.method_class.paper
    return {
        "name": variant.name,
        "method": variant.method,
        "hparams": hparams,
        "variants": {key: dict(value) for key, value in variant.method_class.variants.items()},
        "settings": {key: dict(value) for key, value in variant.method_class.settings.items()},
        "points": len(method.schema),
        "parameters": method.parameter_counts(),
        "flops": _flops(method),
        "input_size": tuple(spec.size),
        "paper": {"title": paper.title, "authors": paper.authors, "year": paper.year, "url": paper.url},
        "differs": paper.differs,
    }


def _schema(method_class: type[Method], points: int) -> LandmarkSchema:
    """Return a schema of so many landmarks that the method takes: a dataset's own, plain points, or vertebrae.

    Raises:
        ValueError: It takes none; the method says why.
    """
    if points < 1:
        raise ValueError(f"--points is {points}; give a positive number of landmarks.")
    own = [data.schema for data in datamodules.discover().values() if len(data.schema) == points]
    names = tuple(f"p{index}" for index in range(points))
    plain = LandmarkSchema(names)
    vertebrae = LandmarkSchema(names, {f"v{i // 4}": names[i : i + 4] for i in range(0, points - points % 4, 4)})
    reasons = []
    for schema in (*own, plain, vertebrae):
        reason = method_class.unsupported(schema)
        if reason is None:
            return schema
        reasons.append(reason)
    raise ValueError(f"the method cannot have {points} landmarks: {reasons[0]}")


def _flops(method: Method) -> int:
    """Count on black films; what the method fits outside its training is fitted to random points on them."""
    height, width = method.input_spec.size
    random = torch.Generator().manual_seed(0)
    films = [
        Sample(
            str(index),
            torch.zeros(1, height, width, dtype=torch.uint8),
            torch.rand(len(method.schema), 2, generator=random) * torch.tensor([width - 1.0, height - 1.0]),
            torch.ones(len(method.schema), dtype=torch.bool),
            torch.full((2,), float("nan")),
            torch.eye(2, 3),
        )
        for index in range(PREPARATION_FILMS)
    ]
    method.prepare(films)
    return count_flops(method, collate(films[:1]))
