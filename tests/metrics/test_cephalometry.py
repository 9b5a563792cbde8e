"""The eight measures on heads drawn by hand, against plain numpy, and between the two readers of the real films."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import Cases
from metrics.cephalometry import LANDMARKS, MEASURES, Cephalometry, cephalometric_measures, cephalometric_types

from .conftest import SKULL, make_skulls

NAMES = list(MEASURES)
READERS = ("senior", "junior")


def ray(start: tuple[float, float], degrees: float, length: float = 50.0) -> tuple[float, float]:
    """Go from a point in a direction, anticlockwise from the right, y down."""
    angle = np.radians(degrees)
    return (start[0] + length * np.cos(angle), start[1] - length * np.sin(angle))


def head(
    sna: float = 81,
    snb: float = 77,
    mandible: float = -25,
    palate: float = 0,
    pogonion: float = -88,
    overjet: tuple[float, float] = (3.0, 0.0),
) -> torch.Tensor:
    """Draw a head facing right in mm, its Frankfort horizontal level and sella-nasion rising by 7 degrees."""
    sella, nasion = (0.0, 0.0), ray((0.0, 0.0), 7, 70)
    to_sella = 187.0
    gonion, lower = (10.0, 80.0), (75.0, 75.0)
    points = {
        **{"sella": sella, "nasion": nasion, "porion": (-20.0, 25.0), "orbitale": (60.0, 25.0)},
        "subspinale": ray(nasion, to_sella + sna, 55),
        "supramentale": ray(nasion, to_sella + snb, 95),
        "pogonion": ray(nasion, pogonion, 110),
        **{"gonion": gonion, "menton": ray(gonion, mandible, 65), "gnathion": ray(gonion, mandible, 70)},
        **{"lower-incisor-tip": lower, "upper-incisor-tip": (lower[0] + overjet[0], lower[1] + overjet[1])},
        **{"posterior-nasal-spine": (25.0, 45.0), "anterior-nasal-spine": ray((25.0, 45.0), palate, 50)},
    }
    return torch.tensor([points[name] for name in LANDMARKS], dtype=torch.float64)


def measure(points: torch.Tensor) -> dict[str, float]:
    return dict(zip(NAMES, cephalometric_measures(points).tolist(), strict=True))


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))))


def reference(points: np.ndarray) -> list[float]:
    """Work out the measures of a head that faces right from unsigned angles and the sides on which lines lie."""
    p = dict(zip(LANDMARKS, points, strict=True))
    line = {k: p[b] - p[a] for k, (a, b) in {
        "ns": ("nasion", "sella"), "na": ("nasion", "subspinale"), "nb": ("nasion", "supramentale"),
        "me-go": ("menton", "gonion"), "ba": ("supramentale", "subspinale"), "ab": ("subspinale", "supramentale"),
        "po-or": ("porion", "orbitale"), "or-po": ("orbitale", "porion"), "face": ("nasion", "pogonion"),
        "palate": ("posterior-nasal-spine", "anterior-nasal-spine"), "sn": ("sella", "nasion"),
        "go-gn": ("gonion", "gnathion"),
    }.items()}  # fmt: skip
    side = {k: float(np.sign(line[a][0] * line[b][1] - line[a][1] * line[b][0])) for k, (a, b) in {
        "palate": ("po-or", "palate"), "ab": ("face", "ab"),
    }.items()}  # fmt: skip
    sna, snb = angle(line["ns"], line["na"]), angle(line["ns"], line["nb"])
    tilt = side["palate"] * angle(line["po-or"], line["palate"])
    odi = angle(line["me-go"], line["ba"]) + tilt
    apdi = angle(line["or-po"], line["face"]) - side["ab"] * angle(line["face"], line["ab"]) + tilt
    heights = [np.linalg.norm(p[a] - p[b]) for a, b in (("sella", "gonion"), ("nasion", "menton"))]
    incisors = p["upper-incisor-tip"] - p["lower-incisor-tip"]
    mw = np.linalg.norm(incisors) * (1 if incisors[0] >= 0 else -1)
    fma = angle(line["sn"], line["go-gn"])
    return [sna - snb, snb, sna, odi, apdi, heights[0] / heights[1], fma, float(mw)]


def test_angles_at_nasion_are_those_that_were_drawn() -> None:
    found = measure(head(sna=84, snb=78))
    assert (found["SNA"], found["SNB"], found["ANB"]) == pytest.approx((84, 78, 6))


def test_anb_is_negative_where_the_chin_lies_in_front() -> None:
    assert measure(head(sna=80, snb=84))["ANB"] == pytest.approx(-4)


def test_the_mandibular_angle_is_taken_from_sella_nasion() -> None:
    assert measure(head(mandible=-25))["FMA"] == pytest.approx(7 + 25)


def test_a_palate_that_falls_to_the_front_adds_its_tilt_to_odi_and_apdi() -> None:
    level, falling = measure(head(palate=0)), measure(head(palate=-6))
    assert falling["ODI"] - level["ODI"] == pytest.approx(6)
    assert falling["APDI"] - level["APDI"] == pytest.approx(6)


def test_odi_of_a_vertical_ab_is_the_angle_over_the_mandible() -> None:
    points = head(mandible=-20)
    points[LANDMARKS.index("supramentale")] = points[LANDMARKS.index("subspinale")] + torch.tensor([0.0, 40.0])
    assert measure(points)["ODI"] == pytest.approx(90 - 20)


def test_apdi_is_the_angle_between_palate_and_ab_wherever_the_chin_is() -> None:
    points = head(palate=-4)
    points[LANDMARKS.index("supramentale")] = points[LANDMARKS.index("subspinale")] + torch.tensor([0.0, 40.0])
    other = points.clone()
    other[LANDMARKS.index("pogonion")] += torch.tensor([9.0, 2.0])
    assert (measure(points)["APDI"], measure(other)["APDI"]) == pytest.approx((94, 94))


def test_the_face_height_index_is_back_over_front() -> None:
    points = head()
    for name, place in {"gonion": (0, 60), "nasion": (70, 0), "menton": (70, 100)}.items():
        points[LANDMARKS.index(name)] = torch.tensor(place).double()
    assert measure(points)["FHI"] == pytest.approx(0.6)


@pytest.mark.parametrize(("overjet", "expected"), [((3, 4), 5), ((-3, 4), -5), ((2, 0), 2), ((-1, 0), -1)])
def test_mw_is_a_signed_distance(overjet: tuple[float, float], expected: float) -> None:
    assert measure(head(overjet=overjet))["MW"] == pytest.approx(expected)


@given(st.integers(0, 200))
def test_all_measures_agree_with_numpy(seed: int) -> None:
    points = head() + torch.randn(14, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert cephalometric_measures(points).tolist() == pytest.approx(reference(points.numpy()), abs=1e-6)


@given(st.floats(-40, 40), st.floats(-100, 100))
def test_turning_shifting_and_mirroring_a_head_changes_nothing(degrees: float, shift: float) -> None:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = head() @ torch.tensor([[c, s], [-s, c]]) + shift
    for points in (turned, turned * torch.tensor([-1.0, 1.0])):
        assert measure(points) == pytest.approx(measure(head()))


@pytest.mark.parametrize(
    ("name", "values", "types"),
    [
        ("ANB", [3.1, 3.2, 5.7, 5.8], [3, 1, 1, 2]),
        ("SNB", [74.5, 74.6, 78.7, 78.8], [2, 1, 1, 3]),
        ("SNA", [79.3, 79.4, 83.2, 83.3], [3, 1, 1, 2]),
        ("ODI", [68.3, 68.4, 80.5, 80.6], [3, 1, 1, 2]),
        ("APDI", [77.5, 77.6, 85.2, 85.3], [2, 1, 1, 3]),
        ("FHI", [0.64, 0.65, 0.75, 0.76], [3, 1, 1, 2]),
        ("FMA", [26.7, 26.8, 31.4, 31.5], [3, 1, 1, 2]),
        ("MW", [-1, 1.9, 2, 4.5, 4.6, 0], [3, 3, 1, 1, 4, 2]),
    ],
)
def test_types_change_at_the_limits_of_the_challenge(name: str, values: list[float], types: list[int]) -> None:
    table = torch.full((len(values), 8), torch.nan, dtype=torch.float64)
    table[:, NAMES.index(name)] = torch.tensor(values, dtype=torch.float64)
    found = cephalometric_types(table)
    assert found[:, NAMES.index(name)].tolist() == types
    assert found.sum() == sum(types)  # what is unknown has type 0


def test_success_rates_and_differences_agree_with_numpy() -> None:
    cases = make_skulls(40)
    metric = Cephalometry(SKULL)
    result = metric.reduce(metric.terms(cases))
    order = [SKULL.names.index(name) for name in LANDMARKS]
    points, target = ((xy[:, order] * cases.spacing[:, None]).numpy() for xy in (cases.points, cases.target))
    predicted, true = (cephalometric_measures(torch.tensor(xy)) for xy in (points, target))
    same = (cephalometric_types(predicted) == cephalometric_types(true)).numpy()
    assert result["scr_odi"].item() == pytest.approx(100 * same[:, 3].mean())
    assert result["scr"].item() == pytest.approx(100 * same.mean())
    assert result["fhi_mae"].item() == pytest.approx((predicted - true).abs()[:, 5].mean().item())


def test_a_missing_landmark_leaves_out_the_measures_that_need_it() -> None:
    cases = make_skulls(3)
    cases.visible[0, SKULL.names.index("menton")] = False  # ODI and FHI
    cases.visible[1, SKULL.names.index("lower-incisor-tip")] = False  # MW
    unknown = Cephalometry(SKULL).terms(cases).isnan()
    assert [NAMES[i] for i in unknown[0, :8].nonzero()[:, 0]] == ["ODI", "FHI"]
    assert [NAMES[i] for i in unknown[1, :8].nonzero()[:, 0]] == ["MW"]
    assert torch.equal(unknown[:, :8], unknown[:, 8:]) and not unknown[2].any()


def test_a_dataset_without_the_landmarks_says_which() -> None:
    reason = Cephalometry.unsupported(SKULL._replace(names=tuple(n for n in SKULL.names if n != "gonion")))
    assert reason == "The dataset lacks the landmark 'gonion' of the skull."


@pytest.fixture(scope="module")
def readings(real_data: Path) -> Cases:
    """The junior reader's points as predictions of the senior's, on all 400 films, in the frame of 0.1 mm."""
    folder = real_data / "isbi_ceph" / "AnnotationsByMD"
    if not folder.is_dir():
        pytest.skip(f"The ISBI labels are not at {folder}; set OSTEOMARK_DATA to the folder that holds isbi_ceph/.")
    senior, junior = (
        torch.tensor(
            np.stack(
                [
                    np.loadtxt(folder / f"400_{reader}" / f"{i:03d}.txt", delimiter=",", max_rows=19)
                    for i in range(1, 401)
                ]
            )
        )
        for reader in READERS
    )
    none = torch.full((400, 19, 2, 2), torch.nan)
    spacing, size = torch.full((400, 2), 0.1), torch.tensor([[2400.0, 1935.0]]).expand(400, 2)
    return Cases(
        junior,
        senior,
        torch.ones(400, 19, dtype=torch.bool),
        spacing,
        size,
        none,
        *(2 * [none[..., 0]]),
        none[..., 0, 0],
    )


def test_the_two_readers_agree_on_four_types_in_five(readings: Cases) -> None:
    from datamodules.isbi2015 import ISBI2015

    metric = Cephalometry(SKULL._replace(names=ISBI2015.schema.names))
    result = {name: value.item() for name, value in metric.reduce(metric.terms(readings)).items()}
    agreement = [result[f"scr_{name.lower()}"] for name in NAMES]
    assert agreement == pytest.approx([78, 82, 67.75, 77, 82.25, 84.25, 82, 87.5], abs=0.01)
    assert result["scr"] == pytest.approx(80.09, abs=0.01)


def test_real_heads_measure_what_numpy_says(readings: Cases) -> None:
    from datamodules.isbi2015 import ISBI2015

    order = [ISBI2015.schema.names.index(name) for name in LANDMARKS]
    points = readings.target[:, order] * 0.1
    expected = [reference(case) for case in points.numpy()]
    np.testing.assert_allclose(cephalometric_measures(points), expected, atol=1e-6)
