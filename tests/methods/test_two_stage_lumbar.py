"""The two-stage lumbar network: Eq. 5, Algorithm 1, squares, CoordConv, cutout, M-Net and the whole round trip."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from datamodules.base import Batch, LandmarkSchema
from datamodules.components.labels.end_plates import end_plate_schema
from datamodules.components.samples import collate
from methods.components.crops.crops import Crops, draw, part_crops, vertebra_sides, widening
from methods.components.heatmap import gaussian
from methods.components.images.clahe import blur, clahe
from methods.components.images.spine_cutout import cutout
from methods.components.networks.centre_net import CentreNet
from methods.components.networks.coordconv import CoordConv2d
from methods.components.networks.mnet import MNet
from methods.components.structures.centre_repair import descending, repair, skips
from methods.components.structures.vertebrae import Frame, frames, parts
from methods.two_stage_lumbar import TwoStageLumbar

from .conftest import build, make_samples

LUMBAR = end_plate_schema(sacrum=True)
SPINE = LandmarkSchema(
    tuple(f"V{v}-{c}" for v in range(17) for c in "abcd"),
    groups={f"V{v}": tuple(f"V{v}-{c}" for c in "abcd") for v in range(17)},
)
NECK = LandmarkSchema(
    ("dens", "C2-l", "C2-r", *(f"C{v}-{c}" for v in (3, 4, 5) for c in ("TL", "TR", "BL", "BR", "process"))),
    groups={
        "C2": ("C2-l", "C2-r"),
        **{f"C{v}": tuple(f"C{v}-{c}" for c in ("TL", "TR", "BL", "BR", "process")) for v in (3, 4, 5)},
    },
    flips=(("C2-l", "C2-r"), *((f"C{v}-{s}L", f"C{v}-{s}R") for v in (3, 4, 5) for s in "TB")),
)
VARIANTS = tuple(TwoStageLumbar.variants)


def _method(schema: LandmarkSchema, variant: str | None = None) -> TwoStageLumbar:
    method = build(TwoStageLumbar, schema, variant)
    assert isinstance(method, TwoStageLumbar)
    return method


def _spine(schema: LandmarkSchema, films: int = 2, side: int = 128) -> Batch:
    """Films with one vertebra below the other, slightly tilted."""
    samples = make_samples(_method(schema), count=films, missing=0)
    found = parts(schema)
    step = 0.8 * side / len(found.members)
    points = torch.zeros(films, len(schema), 2)
    for part, members in enumerate(found.members):
        corners = torch.tensor([[0, 0], [1.1, 0.1], [0.05, 0.7], [1.15, 0.8], [2.0, 0.4]])[: len(members)]
        points[:, list(members)] = torch.tensor([0.35 * side + part, 0.1 * side + part * step]) + corners * 0.9 * step
    noise = torch.rand(films, len(schema), 2, generator=torch.Generator().manual_seed(2))
    batch = collate(samples)
    return batch._replace(points=points + noise, visible=torch.ones_like(batch.visible))


# --- Eq. 5 and squares -----------------------------------------------------------------------------------------------


def test_equation_5_gives_the_sides_of_a_hand_made_spine() -> None:
    y = [10.0, 30.0, 54.0, 80.0, 110.0, 125.0]
    centres = torch.tensor([[[100.0 + i * i, height] for i, height in enumerate(y)]])
    squares = part_crops(centres, parts(LUMBAR), pixels=256, film=512)
    expected = [1.5 * 20, 0.75 * (20 + 24), 0.75 * (24 + 26), 0.75 * (26 + 30), 1.5 * 30, 1.5 * 30]
    torch.testing.assert_close(squares.size[0, :, 0], torch.tensor(expected))
    assert torch.equal(squares.centre, centres)


def test_a_missing_neighbour_leaves_the_other_gap_and_a_lonely_vertebra_takes_the_films_mean() -> None:
    nan = torch.nan
    centres = torch.tensor([[[0.0, 0.0], [0.0, 10.0], [nan, nan], [0.0, 30.0]], [[nan, nan]] * 4])
    sides = vertebra_sides(centres)
    assert sides[0].tolist() == [15, 15, 15, 15]
    assert sides[1].isnan().all()
    squares = part_crops(torch.full((1, 6, 2), nan), parts(LUMBAR), pixels=64, film=128)
    assert squares.centre.isfinite().all()
    assert squares.size.tolist() == [[[16, 16]] * 6]


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 2047), st.floats(0, 2047), st.floats(20, 900), st.sampled_from([32, 256]), st.floats(-1e3, 3e3))
def test_a_point_goes_to_the_square_and_back_within_a_hundredth_pixel(
    x: float, y: float, side: float, size: int, place: float
) -> None:
    squares = Crops.squares(torch.tensor([[[x, y]]]), torch.tensor([[side]]), size)
    points = torch.tensor([[[[place, y], [x, place / 2]]]])
    assert (squares.to_film(squares.to_crop(points)) - points).abs().max() < 0.01


def test_a_square_of_its_own_size_is_a_slice_of_the_film_and_black_outside() -> None:
    film = torch.randint(1, 255, (2, 1, 40, 50), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    inside = Crops.squares(torch.tensor([[[20.5, 12.5]]] * 2), torch.full((2, 1), 16.0), 16)
    torch.testing.assert_close(inside.cut(film)[:, 0], film[:, 0, 5:21, 13:29].float(), atol=1e-3, rtol=0)
    corner = Crops.squares(torch.tensor([[[-0.5, -0.5]]] * 2), torch.full((2, 1), 8.0), 8).cut(film)[:, 0]
    assert corner[:, :4].max() < 1e-3
    torch.testing.assert_close(corner[:, 4:, 4:], film[:, 0, :4, :4].float(), atol=1e-3, rtol=0)


def test_what_lies_at_a_film_pixel_lies_at_its_mapped_place_in_the_square() -> None:
    x, y = 203.0, 118.0
    rows, columns = torch.meshgrid(torch.arange(240.0), torch.arange(320.0), indexing="ij")
    film = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 50)[None, None]
    squares = Crops.squares(torch.tensor([[[190.3, 125.8]]]), torch.tensor([[97.0]]), 64)
    cut = squares.cut(film)[0, 0]
    pixels = torch.arange(64.0)
    centroid = torch.stack([cut.sum(0) @ pixels, cut.sum(1) @ pixels]) / cut.sum()
    expected = squares.to_crop(torch.tensor([[[[x, y]]]])).flatten()
    torch.testing.assert_close(centroid, expected, atol=0.01, rtol=0)


def test_jitter_stays_within_its_limits() -> None:
    squares = Crops.squares(torch.zeros(50, 6, 2), torch.full((50, 6), 10.0), 8)
    moved = squares.jitter(0.1, 0.2)
    assert 0.9 < moved.centre.abs().max() <= 1
    assert 8 <= moved.size.min() < 8.2
    assert 11.8 < moved.size.max() <= 12
    assert squares.jitter(0, 0).size.equal(squares.size)


def test_known_crops_are_drawn_before_unknown_ones() -> None:
    known = torch.tensor([False, True, False, True, True])
    assert sorted(draw(known, 3).tolist()) == [1, 3, 4]
    assert set(draw(known, 2).tolist()) < {1, 3, 4}
    assert sorted(draw(known, 9).tolist()) == [0, 1, 2, 3, 4]


def test_squares_are_widened_for_landmarks_that_equation_5_would_cut_off_and_for_no_others() -> None:
    points = _spine(LUMBAR, films=20).points
    assert widening(points, parts(LUMBAR), film=128).tolist() == [1] * 6
    wide = points.clone()
    wide[:, 20], wide[:, 21] = wide[:, 20] - torch.tensor([30.0, 0.0]), wide[:, 21] + torch.tensor([30.0, 0.0])
    factors = widening(wide, parts(LUMBAR), film=128)
    assert factors[:5].tolist() == [1] * 5
    squares = part_crops(parts(LUMBAR).centres(wide), parts(LUMBAR), 64, film=128).scaled(factors)
    reached = squares.pick((5,)).to_crop(wide[:, None, 20:])
    assert reached.min() == pytest.approx(
        31.5 - 32 / 1.2, abs=1.5
    )  # the outmost but one film in twenty, a fifth to spare
    wide[1:, 20:] = torch.nan
    wide[0, :20] = torch.nan
    assert widening(wide, parts(LUMBAR), film=128).isfinite().all()


# --- Algorithm 1 -----------------------------------------------------------------------------------------------------


def _maps(answers: list[tuple[float, float]], faint: tuple[float, float] | None = None) -> Tensor:
    """One map per answer, with the vertebra that none chose as a lower bump in the first of them."""
    maps = gaussian(torch.tensor([answers]), (64, 64), sigma=1.5)
    return maps if faint is None else maps + 0.3 * gaussian(torch.tensor([[faint]]), (64, 64), sigma=1.5)


def test_algorithm_1_inserts_the_skipped_vertebra_and_drops_the_topmost() -> None:
    answers = [(30.0, 5.0), (31.0, 12.0), (32.0, 19.0), (33.0, 33.0), (34.0, 40.0), (33.0, 46.0)]  # T12, L1, L2, L4 ...
    repaired = repair(_maps(answers, faint=(37.0, 26.0)), torch.tensor([answers]))
    expected = [answers[1], answers[2], (37.0, 26.0), answers[3], answers[4], answers[5]]
    assert repaired[0].tolist() == [list(point) for point in expected]


@pytest.mark.parametrize(("widest", "order"), [(0, ["new", 1, 2, 3, 4, 5]), (4, [1, 2, 3, 4, "new", 5])])
def test_algorithm_1_repairs_the_first_and_the_last_gap(widest: int, order: list[int | str]) -> None:
    heights = np.cumsum([5.0, *(14.0 if gap == widest else 7.0 for gap in range(5))])
    answers = [(30.0, float(height)) for height in heights]
    new = (28.0, float(heights[widest]) + 7)
    repaired = repair(_maps(answers, faint=new), torch.tensor([answers]))
    assert repaired[0].tolist() == [list(new) if place == "new" else list(answers[int(place)]) for place in order]


def test_a_bump_outside_the_middle_fifth_of_the_gap_is_not_taken() -> None:
    answers = [(30.0, 2.0), (30.0, 12.0), (30.0, 22.0), (30.0, 42.0), (30.0, 52.0), (30.0, 62.0)]
    maps = torch.zeros(1, 6, 64, 64)
    maps[0, 0, 29, 10], maps[0, 1, 35, 11], maps[0, 2, 30, 12], maps[0, 3, 34, 13] = 9.0, 8.0, 1.0, 2.0
    repaired = repair(maps, torch.tensor([answers]))
    assert repaired[0, 2].tolist() == [13, 34]  # rows 22 + 8 to 42 - 8, both included


def test_the_channels_are_summed_before_the_maximum_is_sought() -> None:
    answers = [(30.0, 2.0), (30.0, 12.0), (30.0, 22.0), (30.0, 42.0), (30.0, 52.0), (30.0, 62.0)]
    maps = torch.zeros(1, 6, 64, 64)
    maps[0, :, 32, 20], maps[0, 0, 32, 40] = 0.2, 1.0
    assert repair(maps, torch.tensor([answers]))[0, 2].tolist() == [20, 32]


@pytest.mark.parametrize(("gap", "skipped"), [(9.79, False), (9.81, True)])
def test_a_gap_is_suspicious_above_1_4_times_the_mean_of_the_others(gap: float, skipped: bool) -> None:
    peaks = torch.tensor([[[3.0, float(y)] for y in np.cumsum([0, 7, 7, gap, 7, 7])]])
    assert skips(peaks).tolist() == [skipped]
    repaired = repair(torch.rand(1, 6, 64, 64), peaks)
    assert repaired.equal(peaks) is not skipped


def test_only_the_films_that_need_it_are_repaired_and_an_empty_gap_is_left() -> None:
    even = [(30.0, 7.0 * i + 3) for i in range(6)]
    broken = [(30.0, 5.0), (30.0, 12.0), (30.0, 19.0), (30.0, 33.0), (30.0, 40.0), (30.0, 47.0)]
    upwards = [(30.0, 5.0), (30.0, 12.0), (30.0, 60.0), (30.0, 20.0), (30.0, 27.0), (30.0, 34.0)]
    sideways = [(2.0, 10.0), (8.0, 10.3), (14.0, 10.6), (60.0, 10.9), (54.0, 11.2), (48.0, 11.5)]
    peaks = torch.tensor([even, broken, upwards, sideways])
    repaired = repair(torch.rand(4, 6, 64, 64, generator=torch.Generator().manual_seed(0)), peaks)
    assert repaired[0].equal(peaks[0])
    assert not repaired[1].equal(peaks[1])
    assert repaired[3].equal(peaks[3])
    assert repair(torch.rand(4, 3, 8, 8), peaks[:, :3]).equal(peaks[:, :3])


def test_one_joint_map_gives_its_highest_maxima_from_top_to_bottom() -> None:
    centres = torch.tensor([[[20.3, 8.6], [22.0, 17.2], [25.1, 30.0]]])
    heights = torch.tensor([0.7, 1.0, 0.8])[:, None, None]
    joint = (gaussian(centres, (48, 48), sigma=2.0) * heights).amax(dim=1)
    torch.testing.assert_close(descending(joint, 3), centres, atol=0.05, rtol=0)


# --- networks --------------------------------------------------------------------------------------------------------


def test_coordconv_sees_x_and_y_from_minus_one_to_one() -> None:
    conv = CoordConv2d(1, 2, kernel=1)
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    conv.weight.data[0, 1] = conv.weight.data[1, 2] = 1.0
    x, y = conv(torch.randn(1, 1, 3, 5))[0]
    assert x.tolist() == [[-1.0, -0.5, 0.0, 0.5, 1.0]] * 3
    assert y.tolist() == [[-1.0] * 5, [0.0] * 5, [1.0] * 5]


def test_coordconv_convolves_the_features_with_the_coordinates_behind_them() -> None:
    conv, features = CoordConv2d(3, 4), torch.randn(2, 3, 6, 8)
    rows, columns = np.mgrid[:6, :8]
    places = torch.tensor(np.stack([columns / 3.5 - 1, rows / 2.5 - 1]), dtype=torch.float32)
    stacked = torch.cat([features, places.expand(2, -1, -1, -1)], dim=1)
    torch.testing.assert_close(conv(features), F.conv2d(stacked, conv.weight, conv.bias, padding=1))


class _Weights:
    """A network's parameters, handed out in the order of its definition."""

    def __init__(self, network: nn.Module, prefix: str) -> None:
        self.values = [value for name, value in network.named_parameters() if name.startswith(prefix)]

    def take(self, count: int) -> list[Tensor]:
        taken, self.values = self.values[:count], self.values[count:]
        return taken


def _place(features: Tensor) -> Tensor:
    height, width = features.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = 2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1
    return torch.cat([features, torch.stack([x, y]).expand(len(features), 2, height, width)], dim=1)


def _pre_activated(features: Tensor, weights: _Weights, located: bool = False, padding: int = 1) -> Tensor:
    gain, shift, kernel, bias = weights.take(4)
    mean = features.mean(dim=(2, 3), keepdim=True)
    deviation = (features.var(dim=(2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    active = ((features - mean) / deviation * gain.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).clamp(min=0)
    return F.conv2d(_place(active) if located else active, kernel, bias, padding=padding)


def _reference_mnet(network: MNet, image: Tensor, coordconv: int) -> Tensor:
    """Fu et al.'s M-Net with pre-activation blocks, from the papers' words, as one long formula."""
    names = ("images", "down", "raises", "up", "answers")
    images, down, raises, up, answers = (_Weights(network, name) for name in names)
    skips: list[Tensor] = []
    features = image
    for level in range(4):
        located = level < coordconv
        scaled = image.unflatten(2, (-1, 2**level)).mean(3).unflatten(3, (-1, 2**level)).mean(4)
        kernel, bias = images.take(2)
        read = F.conv2d(_place(scaled) if located else scaled, kernel, bias, padding=1)
        features = torch.cat([read, F.max_pool2d(features, 2)], dim=1) if level else read
        for _ in range(2 if level else 1):
            features = _pre_activated(features, down, located)
        skips.append(features)
    features = F.max_pool2d(features, 2)
    for _ in range(2):
        features = _pre_activated(features, down)
    total = torch.zeros(())
    for skip in reversed(skips):
        kernel, bias = raises.take(2)
        features = torch.cat([F.conv_transpose2d(features, kernel, bias, stride=2), skip], dim=1)
        features = _pre_activated(_pre_activated(features, up), up)
        side = _pre_activated(features, answers, padding=0)
        total = total + F.interpolate(side, scale_factor=image.shape[-1] / side.shape[-1], mode="bilinear") / 4
    assert not any(weights.values for weights in (images, down, raises, up, answers))
    return total


@pytest.mark.parametrize("coordconv", [0, 1, 2])
def test_mnet_equals_a_reference_of_its_own_with_the_same_weights(coordconv: int) -> None:
    torch.manual_seed(0)
    network, image = MNet(5, width=4, coordconv=coordconv), torch.rand(2, 1, 64, 64)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    torch.testing.assert_close(network(image), _reference_mnet(network, image, coordconv), atol=1e-4, rtol=1e-4)


def test_networks_refuse_sizes_that_they_cannot_halve() -> None:
    with pytest.raises(ValueError, match="divide by 16"):
        MNet(3, width=4)(torch.zeros(1, 1, 40, 64))
    with pytest.raises(ValueError, match="divide by 8"):
        CentreNet(6, width=4)(torch.zeros(1, 1, 60, 64))


@pytest.mark.parametrize("kernel", [7, 13])
def test_the_centre_net_answers_64_pixels_for_512_and_feeds_the_inner_map_back(kernel: int) -> None:
    network = CentreNet(6, width=2, kernel=kernel).eval()
    film = torch.rand(1, 1, 512, 512)
    inner, maps = network(film)
    assert (inner.shape, maps.shape) == ((1, 1, 64, 64), (1, 6, 64, 64))
    network.inner[-1][-1].weight.data *= -1
    assert not torch.allclose(network(film)[1], maps)
    assert sum(p.shape[-1] == kernel for p in network.parameters() if p.ndim == 4) == 6


def test_the_numbers_of_parameters_do_not_change_unseen() -> None:
    method = TwoStageLumbar(LUMBAR)
    counts = [sum(p.numel() for p in net.parameters()) for net in (method.centre_net, *method.mnets)]
    assert counts == PARAMETERS
    assert [net.answers[-1][-1].out_channels for net in method.mnets] == [5, 3]  # 4 maps and a field; 2 and a field


PARAMETERS = [18_687_177, 8_552_820, 8_551_852]

# --- preprocessing and cutout ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [2.0, 4.0])
@pytest.mark.parametrize("spread", [8, 80])
def test_clahe_gives_opencvs_grey_levels(limit: float, spread: int) -> None:
    rng = np.random.default_rng(spread)
    films = np.clip(rng.normal(100, spread, (2, 64, 128)), 0, 255).astype(np.uint8)
    films[:, :12] = 0  # the black border of a padded film
    equalized = clahe(torch.tensor(films)[:, None].float(), limit)[:, 0].round().numpy()
    expected = np.stack([cv2.createCLAHE(limit, (8, 8)).apply(film) for film in films])
    assert np.abs(equalized - expected).max() <= 1
    assert (equalized == expected).mean() > 0.99
    with pytest.raises(ValueError, match="8x8 tiles"):
        clahe(torch.zeros(1, 1, 60, 64))


def test_the_second_stage_reads_the_unprocessed_film() -> None:
    method, batch = _method(LUMBAR), _spine(LUMBAR)
    squares = Crops.squares(torch.full((2, 1, 2), 63.5), torch.full((2, 1), 32.0), 32)
    plain = blur(batch.image[:, 0, 48:80, 48:80].float() / 255)
    torch.testing.assert_close(method._cut(batch.image, squares)[:, 0, 3:-3, 3:-3], plain[:, 3:-3, 3:-3])


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


def test_l5_and_s1_are_never_hidden_and_the_second_stage_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = _method(LUMBAR), _spine(LUMBAR)
    seen = []

    def spy(film: Tensor, bodies: Frame, *rest: object) -> Tensor:
        seen.append(bodies)
        return film

    monkeypatch.setattr("methods.two_stage_lumbar.cutout", spy)
    method.loss(batch)
    expected = (batch.points[:, :16].unflatten(1, (4, 4)).mean(dim=2) + 0.5) / 2 - 0.5  # in Pose-Net's pixels
    torch.testing.assert_close(seen[0].centre, expected)
    method.stage = 1
    method.loss(batch)
    assert len(seen) == 1


# --- the whole method ------------------------------------------------------------------------------------------------


def test_parts_are_vertebrae_and_smaller_groups_with_networks_of_their_own() -> None:
    lumbar, neck = parts(LUMBAR), parts(NECK)
    assert [kind.parts for kind in lumbar.classes] == [(0, 1, 2, 3, 4), (5,)]
    assert lumbar.hosts == (0, 1, 2, 3, 4, 4)
    assert [kind.plates for kind in lumbar.classes] == [((0, 1), (2, 3)), ((0, 1),)]
    assert [kind.parts for kind in neck.classes] == [(1, 2, 3), (0,), (4,)]
    assert (neck.hosts, neck.chained) == ((0, 0, 1, 2, 2), 4)
    assert len(parts(SPINE).classes) == 1


def test_a_frame_is_the_body_between_the_end_plates_or_the_bounding_box() -> None:
    corners = torch.tensor([[[1.0, 2.0], [9.0, 4.0], [0.0, 8.0], [8.0, 10.0], [30.0, 7.0]]])
    body = frames(corners, ((0, 1), (2, 3)))
    assert [field[0].tolist() for field in body] == [[4.5, 6.0], [8.0, 2.0], [-1.0, 6.0]]
    box = frames(corners, ())
    assert [field[0].tolist() for field in box] == [[15.0, 6.0], [30.0, 0.0], [0.0, 8.0]]


@pytest.mark.parametrize(
    "schema", [LandmarkSchema(("tip", "base")), LandmarkSchema(("a", "b", "c"), {"x": ("a", "b")})]
)
def test_a_schema_without_neighbouring_groups_is_unsupported(schema: LandmarkSchema) -> None:
    assert "no two groups" in str(TwoStageLumbar.unsupported(schema))
    assert all(TwoStageLumbar.unsupported(supported) is None for supported in (LUMBAR, SPINE, NECK))


class _Answer(nn.Module):
    """Answers the same, whatever it sees."""

    def __init__(self, inner: Tensor, maps: Tensor) -> None:
        super().__init__()
        self.answer = inner, maps

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        return self.answer


class _Truth(nn.Module):
    """Answers the truth of the squares that it is asked about, in their order."""

    def __init__(self, points: Tensor, width: int) -> None:
        super().__init__()
        self.points, self.width = points, width

    def forward(self, cuts: Tensor) -> Tensor:
        maps = gaussian(self.points[: len(cuts)], cuts.shape[-2:], sigma=self.width)
        self.points = self.points[len(cuts) :]
        return torch.cat([maps, torch.rand_like(maps[:, :1])], dim=1)


@pytest.mark.parametrize(
    ("schema", "variant", "crops"),
    [(LUMBAR, VARIANTS[0], 96), (LUMBAR, VARIANTS[0], 3), (LUMBAR, VARIANTS[-1], 96), (NECK, VARIANTS[0], 96)],
)
def test_true_maps_give_the_true_points_back(
    schema: LandmarkSchema, variant: str, crops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**TwoStageLumbar.variants[variant], **TwoStageLumbar.smoke, "crop_size": 64, "crops": crops}
    method, batch = TwoStageLumbar(schema, **settings).eval(), _spine(schema)
    method.prepare(
        [sample._replace(points=own) for sample, own in zip(make_samples(method, 2), batch.points, strict=True)]
    )
    centres = method.parts.centres(batch.points)
    maps = gaussian(centres, (64, 64), sigma=2.0, stride=2)
    answer = maps.amax(dim=1, keepdim=True) if method.one_map else maps
    method.centre_net = _Answer(answer[:, :1], answer)
    monkeypatch.setattr("methods.two_stage_lumbar.STRIDE", 1)
    found = method.find_centres(batch)
    torch.testing.assert_close(found, centres, atol=0.2, rtol=0)
    squares = method._squares(found)
    true = [squares.pick(kind.parts).to_crop(batch.points[:, kind.landmarks]) for kind in method.parts.classes]
    method.mnets = nn.ModuleList(_Truth(points.flatten(0, 1), 3) for points in true)
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.points, batch.points, atol=0.2, rtol=0)
    own = 3**2 * squares.scale[0, 0] ** 2 * torch.eye(2)
    assert prediction.covariance is not None
    torch.testing.assert_close(prediction.covariance[0, 0], own, rtol=0.1, atol=0.1)


def test_centre_maps_and_inner_map_are_pulled_to_the_gaussians_of_equation_1() -> None:
    method, batch = _method(LUMBAR, "two-stage-lumbar-no-cutout"), _spine(LUMBAR, side=128)
    centres = method.parts.centres((batch.points + 0.5) / 2 - 0.5)
    corners = (batch.points[:, 16:20] + 0.5) / 2 - 0.5
    height = ((corners[:, 2] + corners[:, 3]) / 2 - (corners[:, 0] + corners[:, 1]) / 2).norm(dim=-1)
    sigma = (height / 2 / 8).clamp(min=1)
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    grid = (torch.stack([columns, rows], dim=-1) + 0.5) * 8 - 0.5
    distance = ((grid - centres[:, :, None, None]) / 8).pow(2).sum(dim=-1)
    truth = torch.exp(-distance / (2 * sigma[:, None, None, None] ** 2))
    method.centre_net = _Answer(truth[:, 4:5] + 1, truth + 2)
    assert float(method.loss(batch)) == pytest.approx(1 + 4, rel=1e-4)


def test_landmark_maps_and_fields_cost_what_equations_6_to_11_say() -> None:
    method = _method(LUMBAR)
    kind = method.parts.classes[0]
    corners = torch.tensor([[[6.2, 7.1], [22.4, 8.3], [5.9, 20.2], [23.3, 21.7]]])
    diagonals = np.hypot(23.3 - 6.2, 21.7 - 7.1), np.hypot(22.4 - 5.9, 20.2 - 8.3)
    rows, columns = np.mgrid[:32, :32]
    maps = np.stack(
        [
            np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (sum(diagonals) / 20) ** 2))
            for x, y in corners[0].numpy()
        ]
    )
    along = np.linspace(0, 1, 4001)
    field = np.zeros((32, 32))
    for a, b in ((0, 1), (2, 3)):
        x, y = corners[0, a].numpy()[:, None] + along * (corners[0, b] - corners[0, a]).numpy()[:, None]
        field[np.hypot(columns[..., None] - x, rows[..., None] - y).min(axis=-1) <= 2] = 1
    noise = np.random.default_rng(0).normal(size=(5, 32, 32))
    truth = np.concatenate([maps, field[None]])
    expected = (noise[:4] ** 2).mean() + 0.001 * (noise[4] ** 2).mean()
    answer = torch.tensor((truth + noise)[None], dtype=torch.float32)
    assert float(method._kind_loss(kind, answer, corners, 0.001)) == pytest.approx(expected, rel=1e-3)
    assert method.paf_weights == (0.001, 0.01)


def test_an_incomplete_vertebra_trains_neither_its_map_nor_its_square() -> None:
    method, batch = _method(LUMBAR), _spine(LUMBAR, films=1)
    method.shift = method.zoom = 0.0
    method.stage = 1
    batch.points[0, 5] = torch.nan
    losses = []
    for moved in (0.0, 3.0):
        points = batch.points.clone()
        points[0, 4] += moved  # another corner of the same vertebra
        losses.append(method.loss(batch._replace(points=points, visible=points.isfinite().all(-1))).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_of_every_variant_falls_on_one_batch_in_both_stages(variant: str) -> None:
    method, batch = _method(LUMBAR, variant), _spine(LUMBAR, films=1)
    for stage in range(2):
        method.stage = stage
        optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
        losses = []
        for _ in range(6):
            torch.manual_seed(0)
            loss = method.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.95 * losses[0], stage


def test_each_stage_trains_its_own_networks_and_one_checkpoint_holds_all() -> None:
    method, batch = _method(LUMBAR), _spine(LUMBAR)
    assert [stage.epochs for stage in method.stages] == [200, 250]
    for stage, trained in enumerate(("centre_net", "mnets")):
        method.stage = stage
        method.zero_grad()
        method.loss(batch).backward()
        touched = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
        assert touched == {trained}
    assert {name.split(".")[0] for name in method.state_dict()} == {"centre_net", "mnets", "widening"}


def test_points_stay_exact_under_half_precision() -> None:
    squares = Crops.squares(torch.tensor([[[1500.25, 1033.5]]]), torch.tensor([[301.7]]), 256)
    points = torch.tensor([[[[1412.6, 1101.3]]]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        back = squares.to_film(squares.to_crop(points))
    assert (back - points).abs().max() < 0.01


def test_the_learning_rate_falls_linearly_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _method(LUMBAR)
    monkeypatch.setattr(TwoStageLumbar, "trainer", SimpleNamespace(estimated_stepping_batches=4))
    optimizers: Any = method.configure_optimizers()
    rates = []
    for _ in range(5):
        rates.append(optimizers["optimizer"].param_groups[0]["lr"])
        optimizers["optimizer"].step()
        optimizers["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([1e-4, 0.75e-4, 0.5e-4, 0.25e-4, 0])
    assert optimizers["lr_scheduler"]["interval"] == "step"
