"""Kinds of structures: what bottom-up methods detect as one class and then give names to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from methods.base import LandmarkSchema, Sample

GroupClass = tuple[tuple[int, ...], ...]
"""The structures that look alike, in anatomical order, each as the positions of its landmarks, one per slot."""


def group_classes(schema: LandmarkSchema) -> tuple[GroupClass, ...]:
    """Sort a schema's groups into kinds: groups of one size are one kind, a landmark of no group is a kind of its own.

    A group that shares a landmark with an earlier one is left out, as far as its other landmarks stand alone.

    Example:
        >>> group_classes(LandmarkSchema(("a1", "a2", "b1", "b2", "tip"), {"a": ("a1", "a2"), "b": ("b1", "b2")}))
        (((0, 1), (2, 3)), ((4,),))
    """
    by_size: dict[int, list[tuple[int, ...]]] = {}
    taken: set[int] = set()
    for members in schema.group_index.values():
        if len(members) > 1 and taken.isdisjoint(members):
            by_size.setdefault(len(members), []).append(members)
            taken.update(members)
    single = [((landmark,),) for landmark in range(len(schema)) if landmark not in taken]
    return (*(tuple(groups) for groups in by_size.values()), *single)


def mean_axes(found: Sequence[GroupClass], train: Sequence[Sample]) -> Float[Tensor, "kind 2"]:
    """Return, for each kind, the mean vector from its first to its last structure; downwards where there is none."""
    shape = torch.stack([sample.points for sample in train]).nanmean(dim=0)
    ends = torch.stack([shape[list(kind[-1])].nanmean(dim=0) - shape[list(kind[0])].nanmean(dim=0) for kind in found])
    unknown = ~ends.isfinite().all(dim=1) | (ends == 0).all(dim=1)
    ends[unknown] = torch.tensor([0.0, 1.0])
    return ends


def order_along(
    points: Float[Tensor, "batch structure 2"], axis: Float[Tensor, " 2"]
) -> Int[Tensor, "batch structure"]:
    """Return the order of structures along an axis: the n-th of them gets the n-th name of its kind."""
    return (points @ axis.to(points.dtype)).argsort(dim=1, stable=True)
