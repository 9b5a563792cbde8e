"""Losses, one function each, every one over visible landmarks only.

All take the predicted and target heatmaps (or points) of a batch and `visible`; a batch without a visible landmark
costs 0 and gives zero gradients. Missing landmarks may be NaN in the target: they are left out before anything is
computed.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Heatmaps = Float[Tensor, "batch landmark height width"]
Visible = Bool[Tensor, "batch landmark"]
Categorical = Literal["none", "background-foreground", "all"]


def _mean(loss: Tensor) -> Float[Tensor, ""]:
    return loss.sum() / max(loss.numel(), 1)


def l2(predicted: Float[Tensor, "batch landmark ..."], target: Tensor, visible: Visible) -> Float[Tensor, ""]:
    """Mean squared difference.

    Example:
        >>> l2(torch.tensor([[3.0, 9.0]]), torch.tensor([[1.0, torch.nan]]), torch.tensor([[True, False]]))
        tensor(4.)
    """
    return _mean((predicted[visible] - target[visible]) ** 2)


def l1(predicted: Float[Tensor, "batch landmark ..."], target: Tensor, visible: Visible) -> Float[Tensor, ""]:
    """Mean absolute difference.

    Example:
        >>> l1(torch.tensor([[3.0, 9.0]]), torch.tensor([[1.0, torch.nan]]), torch.tensor([[True, False]]))
        tensor(2.)
    """
    return _mean((predicted[visible] - target[visible]).abs())


def background_piece(error: Float[Tensor, ...], phi: float = 0.5, alpha: float = 0.5) -> Float[Tensor, ...]:
    """Eq. 6 of Fard et al. 2022: quadratic, weaker below `phi`; C1 = (alpha - 1) phi^2 joins the pieces."""
    c1 = (alpha - 1) * phi**2
    return torch.where(error > phi, error**2 + c1, alpha * error**2)


def foreground_piece(error: Float[Tensor, ...], phi: float = 0.5) -> Float[Tensor, ...]:
    """Eq. 8 of Fard et al. 2022: linear below `phi`, quadratic above; C2 = phi - phi^2 joins the pieces."""
    c2 = phi - phi**2
    return torch.where(error > phi, error**2 + c2, error)


def core_piece(
    error: Float[Tensor, ...], phi1: float = 0.5, phi2: float = 0.05, beta: float = 4.0
) -> Float[Tensor, ...]:
    """Eq. 10 of Fard et al. 2022: linear below `phi2`, logarithmic to `phi1`, quadratic above, continuous by C3, C4."""
    c3 = phi2 - beta * math.log1p(phi2)
    c4 = beta * math.log1p(phi1) + c3 - phi1**2
    logarithmic = torch.where(error > phi2, beta * torch.log1p(error) + c3, error)
    return torch.where(error > phi1, error**2 + c4, logarithmic)


def ic_loss(
    predicted: Heatmaps,
    target: Heatmaps,
    visible: Visible,
    categorical: Categorical = "background-foreground",
    beta: float = 4.0,
    phi2: float = 0.05,
    weigh_foreground: bool = True,
) -> Float[Tensor, ""]:
    """IC-Loss, Eq. 17 of Fard et al., IEEE Access 2022: a loss piece per intensity region of the target.

    Background is below .4, core foreground from .9 on, foreground between them. Foreground and core are weighted by the
    background's pixel count over theirs, per map (Eq. 3). Where the region of the predicted intensity is the target's,
    the categorical factor Omega (Eq. 14) cancels the pixel's loss.

    Args:
        predicted: Predicted heatmaps.
        target: Unit-height Gaussian heatmaps.
        visible: Which maps count.
        categorical: Regions under Omega: `background-foreground` is IC-Loss, `none` and `all` its ablation (Table 8).
        beta: Curvature of the core's logarithm (Eq. 10).
        phi2: End of the core's linear piece (Eq. 10).
        weigh_foreground: Keep omega_FG (Eq. 9) in the foreground's term, where Eq. 16 drops it.
    """
    guess, wanted = predicted[visible], target[visible]
    error = (wanted - guess).abs()
    background, core = wanted < 0.4, wanted >= 0.9
    foreground = ~background & ~core
    counts = [region.sum(dim=(-2, -1), keepdim=True).clamp(min=1) for region in (background, foreground, core)]
    foreground_weight = counts[0] / counts[1] if weigh_foreground else torch.ones_like(counts[1], dtype=error.dtype)
    pieces = (
        (background, guess < 0.4, background_piece(error)),
        (foreground, (guess >= 0.4) & (guess < 0.9), foreground_weight * foreground_piece(error)),
        (core, guess >= 0.9, counts[0] / counts[2] * core_piece(error, beta=beta, phi2=phi2)),
    )
    under_omega = {"none": 0, "background-foreground": 2, "all": 3}[categorical]
    total = torch.zeros_like(error)
    for position, (region, classified, piece) in enumerate(pieces):
        charged = region & ~classified if position < under_omega else region
        total = torch.where(charged, piece, total)
    return _mean(total)


def ewc(predicted: Heatmaps, target: Heatmaps, visible: Visible, alpha: float = 40.0) -> Float[Tensor, ""]:
    """Exponential Weighted Center loss, Eq. 3 of Ao and Wu, FARNet, 2023: mean of (y - p)^2 alpha^y.

    Args:
        predicted: Predicted heatmaps p.
        target: Unit-height Gaussian heatmaps y.
        visible: Which maps count.
        alpha: Weight of a landmark's own pixel; the background's is 1.

    Example:
        >>> ewc(torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.5]]]]), torch.tensor([[True]]), alpha=4.0)
        tensor(2.2500)
    """
    wanted = target[visible]
    return _mean((predicted[visible] - wanted) ** 2 * alpha**wanted)


def adaptive_wing(
    predicted: Heatmaps,
    target: Heatmaps,
    visible: Visible,
    omega: float = 14.0,
    theta: float = 0.5,
    epsilon: float = 1.0,
    alpha: float = 2.1,
) -> Float[Tensor, ""]:
    """Adaptive Wing loss, Eq. 3 of Wang et al., ICCV 2019, without its weighted loss map.

    With the error d = |y - p| and the exponent e = alpha - y, a pixel costs omega ln(1 + (d / epsilon)^e) below theta
    and A d - C above, where A and C make value and slope continuous at theta.

    Args:
        predicted: Predicted heatmaps p.
        target: Unit-height Gaussian heatmaps y.
        visible: Which maps count.
        omega: Height of the logarithmic piece.
        theta: Error at which the linear piece begins.
        epsilon: Error scale of the logarithmic piece.
        alpha: Above 2, so that the exponent stays above 1 and the loss smooth at 0.
    """
    wanted = target[visible]
    error, exponent = (predicted[visible] - wanted).abs(), alpha - wanted
    power = (theta / epsilon) ** exponent
    slope = omega * exponent * power / theta / (1 + power)
    offset = theta * slope - omega * torch.log1p(power)
    logarithmic = omega * torch.log1p((error / epsilon) ** exponent)
    return _mean(torch.where(error < theta, logarithmic, slope * error - offset))


def focal(
    logits: Heatmaps, target: Heatmaps, counted: Bool[Tensor, "batch landmark height width"]
) -> Float[Tensor, ""]:
    """Penalty-reduced focal loss of centre heatmaps (Yi et al., ISBI 2020, Sec. 2, after CornerNet).

    With p = sigmoid(logit), minus the sum of (1 - p)^2 log p over centres (target 1) and of (1 - y)^4 p^2 log(1 - p)
    over all other pixels, divided by the number of centres.

    Args:
        logits: Predicted heatmaps before the sigmoid.
        target: Heatmaps y that are exactly 1 at the centres' pixels.
        counted: Which pixels count.

    Example:
        >>> focal(torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]]), torch.ones(1, 1, 1, 2, dtype=torch.bool))
        tensor(0.3466)
    """
    logit, wanted = logits[counted], target[counted]
    guess, centre = logit.sigmoid(), wanted == 1
    at_centre = (1 - guess) ** 2 * torch.nn.functional.logsigmoid(logit)
    elsewhere = (1 - wanted) ** 4 * guess**2 * torch.nn.functional.logsigmoid(-logit)
    return -torch.where(centre, at_centre, elsewhere).sum() / centre.sum().clamp(min=1)


def learned_gaussian(
    predicted: Heatmaps,
    points: Float[Tensor, "batch landmark 2"],
    sigma: Float[Tensor, " landmark"],
    visible: Visible,
    gain: float = 100.0,
    alpha: float = 20.0,
) -> Float[Tensor, ""]:
    """Heatmap regression with learned widths, the objective of Payer et al., Medical Image Analysis 2019.

    Half the squared error, summed over pixels, to the Gaussian g = gain / (2 pi sigma^2) exp(-|x - x*|^2 / 2 sigma^2),
    plus half of alpha sigma^2, summed over landmarks and averaged over films: a landmark that cannot be placed exactly
    is cheaper under a wide Gaussian, alpha keeps it from growing without end. Missing landmarks are taken out before
    their Gaussian is rendered, since sigma gets its gradient through it.

    Args:
        predicted: Predicted heatmaps, on the grid of the points.
        points: (x, y) in heatmap pixels.
        sigma: Width of each landmark's Gaussian in heatmap pixels.
        visible: Which landmarks count.
        gain: Volume under each Gaussian.
        alpha: Price of a wide Gaussian.
    """
    guess, (x, y), width = predicted[visible], points[visible].T, sigma.expand(visible.shape)[visible]
    columns, rows = (torch.arange(n, device=x.device, dtype=x.dtype) for n in (guess.shape[-1], guess.shape[-2]))
    squared = (columns - x[:, None])[:, None, :] ** 2 + (rows - y[:, None])[:, :, None] ** 2
    variance = (width**2)[:, None, None]
    target = gain / (2 * math.pi * variance) * torch.exp(-squared / (2 * variance))
    return (((guess - target) ** 2).sum() + alpha * (width**2).sum()) / (2 * len(visible))


def spatial_kl(logits: Heatmaps, target: Heatmaps, visible: Visible) -> Float[Tensor, ""]:
    """Kullback-Leibler divergence of two distributions over a map's pixels: sum of q (log q - log p), mean over maps.

    p is the softmax of the logits, q the target over its sum (McCouat and Voiculescu, "Contour-hugging heatmaps
    for landmark detection", CVPR 2022, have the landmark's pixel alone for q). Landmarks out of the map, where no pixel
    of the target reaches .1, do not count.

    Args:
        logits: Predicted log-probabilities, up to a constant per map.
        target: Unit-height Gaussian heatmaps.
        visible: Which maps count.

    Example:
        >>> target = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
        >>> spatial_kl(torch.zeros(1, 1, 1, 4), target, torch.tensor([[True]]))  # ln 4
        tensor(1.3863)
    """
    guess, wanted = logits[visible].flatten(1), target[visible].flatten(1)
    inside = wanted.amax(dim=1) > 0.1
    share = wanted[inside] / wanted[inside].sum(dim=1, keepdim=True)
    divergence = torch.xlogy(share, share) - share * guess[inside].log_softmax(dim=1)
    return _mean(divergence.sum(dim=1))


def attenuated_l2(
    predicted: Float[Tensor, "batch landmark 2"],
    log_variance: Float[Tensor, "batch landmark 2"],
    target: Float[Tensor, "batch landmark 2"],
    visible: Visible,
    log_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Squared difference under a learned variance, Eq. 16 of Upadhyay et al., CHIL 2020, mean over coordinates.

    (x - x^)^2 / (2 s^2) + log s^2 per coordinate: cheap where the network admits that it does not know. As printed,
    Eq. 16 weighs the logarithm twice as much as the Gaussian likelihood that it follows from (Eq. 14) does, so that the
    best s^2 is half of the squared error; `log_weight` .5 is Eq. 14.

    Args:
        predicted: Points.
        log_variance: log s^2 of every coordinate.
        target: Points, NaN where missing.
        visible: Which points count.
        log_weight: Weight of the logarithm.

    Example:
        >>> log_variance = torch.log(torch.tensor([[[4.0, 0.25]]]))
        >>> attenuated_l2(torch.zeros(1, 1, 2), log_variance, torch.tensor([[[2.0, 1.0]]]), torch.tensor([[True]]))
        tensor(1.2500)
    """
    squared, log_s2 = (predicted[visible] - target[visible]) ** 2, log_variance[visible]
    return _mean(squared * torch.exp(-log_s2) / 2 + log_weight * log_s2)
