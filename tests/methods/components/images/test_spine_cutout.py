"""Random spine cutout: what it hides and what it spares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.components.images.spine_cutout import cutout
from methods.components.structures.vertebrae import Frame


def _bodies(films: int) -> Frame:
    """Four tilted vertebrae per film, of 20 x 12 pixels, one below the other."""
    angle = torch.tensor(0.3)
    across = 20 * torch.stack([angle.cos(), angle.sin()]).expand(films, 4, 2)
    down = 12 * torch.stack([-angle.sin(), angle.cos()]).expand(films, 4, 2)
    centre = torch.stack([torch.full((4,), 40.0), torch.tensor([16.0, 40.0, 64.0, 88.0])], dim=-1).expand(films, 4, 2)
    return Frame(centre, across, down)


def _owner(films: Tensor) -> tuple[Tensor, Tensor]:
    """Which pixels are black, and in which vertebra (0 to 3) each of all pixels lies; -1 is none."""
    rows, columns = torch.meshgrid(torch.arange(108.0), torch.arange(80.0), indexing="ij")
    owner = torch.full((108, 80), -1)
    for vertebra, y in enumerate((16, 40, 64, 88)):
        x, z = columns - 40, rows - y
        turned = x * np.cos(0.3) + z * np.sin(0.3), -x * np.sin(0.3) + z * np.cos(0.3)
        owner[(turned[0].abs() <= 10 + 1e-3) & (turned[1].abs() <= 6 + 1e-3)] = vertebra
    return films[:, 0] == 0, owner


@pytest.mark.parametrize("ratio", [0.4, 0.6, 0.8, 1.0])
def test_random_spine_cutout_hides_a_part_of_one_vertebra_only(ratio: float) -> None:
    torch.manual_seed(0)
    hidden, owner = _owner(cutout(torch.ones(200, 1, 108, 80), _bodies(200), "spine", ratio, share=1.0))
    owners = [set(owner[film].tolist()) for film in hidden]
    assert all(len(found) == 1 for found in owners)
    assert set.union(*owners) == {0, 1, 2, 3}
    areas = hidden.flatten(1).sum(dim=1).float()
    assert areas.mean().item() == pytest.approx(ratio**2 * 240, rel=0.05)
    assert hidden.float().mean(dim=0).gt(0).sum() > 0.9 * (owner >= 0).sum()  # anywhere within the bodies


def test_cutout_spares_films_outside_its_share_and_never_draws_a_missing_vertebra() -> None:
    torch.manual_seed(0)
    bodies = _bodies(400)
    bodies.centre.contiguous()
    known = Frame(bodies.centre.clone(), bodies.across, bodies.down)
    known.centre[:, [0, 2]] = torch.nan
    known.centre[:100] = torch.nan
    hidden, owner = _owner(cutout(torch.ones(400, 1, 108, 80), known, "spine", 0.6, share=0.25))
    cut = hidden.flatten(1).any(dim=1)
    assert not cut[:100].any()
    assert 0.15 < cut[100:].float().mean() < 0.35
    assert set(owner[hidden.any(dim=0)].tolist()) == {1, 3}
    film = torch.rand(400, 1, 8, 8)
    assert cutout(film, known, "none", 0.6, 1.0) is film


def test_conventional_cutout_hides_as_much_anywhere() -> None:
    torch.manual_seed(0)
    hidden, owner = _owner(cutout(torch.ones(300, 1, 108, 80), _bodies(300), "anywhere", 0.6, share=1.0))
    assert hidden.flatten(1).sum(dim=1).max().item() == pytest.approx(0.36 * 240, rel=0.2)
    assert hidden.any(dim=0).float().mean() > 0.9
    assert hidden[:, owner < 0].float().mean() > 0.005
