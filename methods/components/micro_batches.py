"""A batch in parts: its loss and gradients within the memory that one part takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.base import Batch


def divide(batch: Batch, most: int | None) -> list[Batch]:
    """Divide a batch into as few parts as can be, equal within a film.

    Args:
        batch: Of any number of films.
        most: Films that a part may have; None for the batch as it is.

    Example:
        >>> batch = Batch(tuple("abcdefg"), *[torch.zeros(7, 1)] * 5)
        >>> [part.case for part in divide(batch, 3)]
        [('a', 'b', 'c'), ('d', 'e'), ('f', 'g')]
    """
    films = len(batch.case)
    if most is None or films <= most:
        return [batch]
    numbers = torch.arange(films).tensor_split(math.ceil(films / most))
    spans = [slice(int(part[0]), int(part[-1]) + 1) for part in numbers]
    case, *tensors = batch
    return [Batch(case[span], *(tensor[span] for tensor in tensors)) for span in spans]


def accumulate(loss: Callable[[Batch], Tensor], parts: Sequence[Batch], weights: Iterable[Tensor]) -> Float[Tensor, ""]:
    """Return the mean of the parts' losses over their films; its gradients are accumulated part by part.

    Where `loss` is a mean over films, value and gradients are those of the whole batch, up to rounding. Gradients are
    computed here, while the graph of a part is there; `backward` of what is returned hands them to the weights.

    Args:
        loss: Of a part.
        parts: Of one batch.
        weights: What is trained.
    """
    trained = [weight for weight in weights if weight.requires_grad]
    films = sum(len(part.case) for part in parts)
    total: Tensor = torch.zeros(())
    sums: dict[int, Tensor] = {}
    for part in parts:
        share = loss(part) * (len(part.case) / films)
        total = total.to(share.device) + share.detach()
        with torch.autocast(share.device.type, enabled=False):  # as around Lightning's own backward pass
            gradients = torch.autograd.grad(share, trained, allow_unused=True)
        for place, gradient in enumerate(gradients):
            if gradient is not None:
                sums[place] = sums[place] + gradient if place in sums else gradient
    weights = [trained[place] for place in sums]
    answer: Tensor = _Accumulated.apply(total, list(sums.values()), *weights)  # type: ignore[no-untyped-call]
    return answer


class _Accumulated(torch.autograd.Function):
    """A loss whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, gradients: list[Tensor], *weights: Tensor) -> Tensor:  # noqa: ANN401
        ctx.gradients = gradients
        return total.clone()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        return (None, None, *(gradient * scale for gradient in ctx.gradients))
