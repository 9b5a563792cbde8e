"""The challenge's Cobb rule against a step-by-step numpy version and against the challenge's own angles."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat

from metrics.base import Anatomy, Cases
from metrics.cobb_angle import CobbAngle, cobb_angles, symmetric_error

Maker = Callable[..., Cases]
CORNERS = np.array([[-30, -12], [30, -12], [-30, 12], [30, 12]], float)


def spine(tilts: np.ndarray, centres: np.ndarray | None = None) -> np.ndarray:
    """Stack vertebrae of given tilt in degrees, 40 px apart, at given x positions of their centres."""
    x = np.zeros(len(tilts)) if centres is None else centres
    turns = [np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in np.deg2rad(tilts)]
    parts = enumerate(zip(turns, x, strict=True))
    return np.concatenate([CORNERS @ turn + [300 + dx, 40 + 40 * place] for place, (turn, dx) in parts])


def image_height(path: Path) -> int:
    with Image.open(path) as image:
        return image.height


def angle_between(one: np.ndarray, other: np.ndarray) -> float:
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    return float(np.degrees(np.arccos(np.round(cosine, 8))))


def is_s_shaped(middle: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        along = (middle[:-2] - middle[-1]) / (middle[0] - middle[-1])
    products = np.outer(side := along[:, 1] - along[:, 0], side)
    return bool(products.sum() != np.abs(products).sum())


def reference(points: np.ndarray, height: float) -> list[float]:
    """Follow the rule with loops, for one spine."""
    middle = (points[0::2] + points[1::2]) / 2
    side = [((v[0] + v[2]) / 2, (v[1] + v[3]) / 2) for v in points.reshape(-1, 4, 2)]
    arrows = [right - left for left, right in side]
    table = np.array([[angle_between(one, other) for other in arrows] for one in arrows])
    upper, lower = np.unravel_index(table.argmax(), table.shape)
    if not is_s_shaped(middle):
        return [table.max(), table[0, upper], table[-1, lower]]
    second = table[upper, : upper + 1].max()
    if middle[2 * upper + 1, 1] + middle[2 * lower + 1, 1] < height:
        return [table.max(), second, table[lower, lower:].max()]
    found = table[upper, : upper + 1].argmax()
    return [table.max(), second, table[found, : found + 1].max()]


@given(st.integers(0, 10**6), st.integers(3, 20), st.floats(1, 2000))
def test_the_angles_agree_with_a_step_by_step_version(seed: int, vertebrae: int, height: float) -> None:
    random = np.random.default_rng(seed)
    points = spine(random.normal(0, 20, vertebrae), random.normal(0, 40, vertebrae).cumsum())
    np.testing.assert_allclose(cobb_angles(torch.tensor(points), height), reference(points, height), atol=1e-6)


def test_all_three_branches_of_the_rule_are_reached() -> None:
    random = np.random.default_rng(0)
    points = np.stack([spine(random.normal(0, 15, 9), random.normal(0, 9, 9).cumsum()) for _ in range(200)])
    curved = [is_s_shaped((p[0::2] + p[1::2]) / 2) for p in points]
    tall, flat = (cobb_angles(torch.tensor(points), torch.full((200,), height)) for height in (1e4, 0.0))
    assert 0 < sum(curved) < 200
    assert set((tall != flat).any(-1).nonzero().ravel().tolist()) <= set(np.nonzero(curved)[0].tolist())
    assert (tall != flat).any()


def test_a_stack_is_measured_like_each_spine_alone() -> None:
    points = torch.tensor(np.random.default_rng(0).normal(0, 50, (4, 3, 20, 2)))
    height = torch.rand(4, 3)
    together = cobb_angles(points, height)
    assert together.shape == (4, 3, 3)
    torch.testing.assert_close(together[2, 1], cobb_angles(points[2, 1], height[2, 1]))


@pytest.mark.parametrize("part", ["training", "test"])
def test_the_angles_of_every_real_film_are_the_official_ones(part: str, aasce: Path) -> None:
    names = (aasce / "labels" / part / "filenames.csv").read_text(encoding="utf-8").splitlines()
    labels = [loadmat(str(aasce / "labels" / part / f"{name}.mat"))["p2"].astype(float) for name in names]
    heights = [image_height(aasce / "data" / part / name) for name in names]
    official = np.loadtxt(aasce / "labels" / part / "angles.csv", delimiter=",")
    assert len(names) == {"training": 481, "test": 128}[part]
    measured = cobb_angles(torch.tensor(np.stack(labels)), torch.tensor(heights))
    np.testing.assert_allclose(measured, official, rtol=5.1e-5, atol=1e-9)  # the file has 5 significant digits


@given(st.integers(0, 99), st.floats(-300, 300))
def test_moving_a_spine_sideways_changes_nothing(seed: int, shift: float) -> None:
    points = torch.tensor(spine(np.random.default_rng(seed).normal(0, 20, 7), np.arange(7.0) ** 2))
    moved = cobb_angles(points + torch.tensor([shift, 0]), 300.0)
    torch.testing.assert_close(moved, cobb_angles(points, 300.0), rtol=0, atol=1e-2)


def test_a_known_c_shaped_spine_has_known_angles() -> None:
    tilts = np.array([5.0, 0, -10, -20, -5, 10, 20, 15, 10])
    angles = cobb_angles(torch.tensor(spine(tilts, np.array([0.0, 9, 16, 22, 24, 22, 17, 11, 5]))), 1e4)
    np.testing.assert_allclose(angles, [40, 25, 10], atol=1e-3)


def test_vertebrae_without_a_direction_are_measured_as_zero() -> None:
    assert cobb_angles(torch.zeros(20, 2), 100.0).tolist() == [0, 0, 0]


def test_smape_and_mae_agree_with_numpy(spines: Maker, anatomy: Anatomy) -> None:
    cases = spines(30, missing=0.01)
    metric = CobbAngle(anatomy)
    metric.update(cases)
    whole = cases.visible.numpy().all(1)
    assert 0 < whole.sum() < 30
    height = cases.size[:, 0].numpy()
    predicted, target = (
        np.array([reference(p, h) for p, h in zip(points[whole].numpy(), height[whole], strict=True)])
        for points in (cases.points, cases.target)
    )
    smape = 100 * (np.abs(predicted - target).sum(1) / (predicted + target).sum(1)).mean()
    assert metric.compute()["cobb_smape"].item() == pytest.approx(smape)
    assert metric.compute()["cobb_mae"].item() == pytest.approx(np.abs(predicted - target).mean())


def test_a_film_of_unknown_height_does_not_count(spines: Maker, anatomy: Anatomy) -> None:
    cases = spines(3)
    cases.size[1, 0] = torch.nan
    assert CobbAngle(anatomy).terms(cases).isnan().all(-1).tolist() == [False, True, False]


def test_two_straight_spines_have_no_symmetric_error() -> None:
    assert symmetric_error(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ({"L1": (0, 1, 2, 3), "L2": (4, 5, 6, 7)}, "2 vertebrae, and Cobb angles need at least three"),
        ({"L5": (0, 1, 2, 3), "S1": (4, 5)}, "'S1' has 2 landmarks instead of four corners"),
    ],
)
def test_an_anatomy_without_enough_corners_is_refused(
    groups: dict[str, tuple[int, ...]], reason: str, anatomy: Anatomy
) -> None:
    assert reason in (CobbAngle.unsupported(anatomy._replace(groups=groups)) or "")


def test_the_groups_say_which_landmarks_are_corners(spines: Maker, anatomy: Anatomy) -> None:
    cases, order = spines(3), torch.randperm(20, generator=torch.Generator().manual_seed(0))
    place = order.argsort().tolist()
    groups = {name: tuple(place[corner] for corner in corners) for name, corners in anatomy.groups.items()}
    shuffled = cases._replace(points=cases.points[:, order], target=cases.target[:, order])
    expected = CobbAngle(anatomy).terms(cases)
    torch.testing.assert_close(CobbAngle(anatomy._replace(groups=groups)).terms(shuffled), expected)
