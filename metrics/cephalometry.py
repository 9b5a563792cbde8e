"""The eight cephalometric measures of the ISBI 2015 challenge, and the classes that follow from them."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from metrics.base import Anatomy, Cases, Column, LandmarkMetric, Measurement, present
from metrics.components.pooling import pooled_mean

LANDMARKS = (
    *("sella", "nasion", "orbitale", "porion", "subspinale", "supramentale", "pogonion", "menton", "gnathion"),
    *("gonion", "lower-incisor-tip", "upper-incisor-tip", "posterior-nasal-spine", "anterior-nasal-spine"),
)


class Measure(NamedTuple):
    """One measure and how the challenge sorts it.

    Attributes:
        unit: `deg`, `mm`, or empty for a ratio.
        normal: Limits of the normal range, which belong to it.
        types: The challenge's number of the classes below, within and above it.
    """

    unit: str
    normal: tuple[float, float]
    types: tuple[int, int, int]


_PALATE = ("posterior-nasal-spine", "anterior-nasal-spine")
MEASURES = {
    "ANB": Measure("deg", (3.2, 5.7), (3, 1, 2)),
    "SNB": Measure("deg", (74.6, 78.7), (2, 1, 3)),
    "SNA": Measure("deg", (79.4, 83.2), (3, 1, 2)),
    "ODI": Measure("deg", (68.4, 80.5), (3, 1, 2)),
    "APDI": Measure("deg", (77.6, 85.2), (2, 1, 3)),
    "FHI": Measure("", (0.65, 0.75), (3, 1, 2)),
    "FMA": Measure("deg", (26.8, 31.4), (3, 1, 2)),
    "MW": Measure("mm", (2.0, 4.5), (3, 1, 4)),
}
"""Wang et al., Med Image Anal 31, 2016, the table of the eight clinical measurements."""
EDGE_TO_EDGE = 2
"""The type of MW = 0."""


def cephalometric_measures(points: Float[Tensor, "*case 14 2"]) -> Float[Tensor, "*case 8"]:
    """Measure ANB, SNB, SNA, ODI, APDI, FHI, FMA and MW.

    Source: Wang et al., "A benchmark for comparison of dental radiography analysis algorithms", Med Image Anal 31,
    2016 (ISBI 2015). A and B are subspinale and supramentale:

    * ANB = SNA - SNB, negative where B lies in front of A; SNB and SNA are the angles at nasion.
    * ODI: angle of AB to the mandibular plane (gonion-menton) plus the tilt of the palatal plane against the Frankfort
      horizontal (porion-orbitale), positive where it falls to the front (Kim, Angle Orthod 1974).
    * APDI: facial angle (Frankfort horizontal to nasion-pogonion) plus the angle of AB to nasion-pogonion, positive
      where B lies ahead, plus the same tilt (Kim and Vietas, Am J Orthod 1978).
    * FHI: sella-gonion over nasion-menton. FMA: angle of sella-nasion to gonion-gnathion, as the challenge has it.
    * MW: distance of the incisor tips, negative where the lower one lies in front.

    Args:
        points: The landmarks of `LANDMARKS`, in that order, in millimetres, x right and y down. A head may face either
            side.

    Returns:
        The measures in the order of `MEASURES`: degrees, FHI a ratio, MW in millimetres.
    """
    point = dict(zip(LANDMARKS, points.double().unbind(-2), strict=True))
    front = (point["nasion"][..., 0] - point["sella"][..., 0]).sign()

    def direction(start: str, end: str) -> Tensor:
        """Angle of a line in a head that faces right, anticlockwise from the front."""
        x, y = (point[end] - point[start]).unbind(-1)
        return torch.rad2deg(torch.atan2(-y, x * front))

    sna, snb = (_wrap(direction("nasion", p) - direction("nasion", "sella")) for p in ("subspinale", "supramentale"))
    frankfort, ab = direction("porion", "orbitale"), direction("subspinale", "supramentale")
    tilt = _wrap(frankfort - direction(*_PALATE))
    face = direction("nasion", "pogonion")
    odi = _wrap(direction("gonion", "menton") - ab) + tilt
    apdi = 180 - _wrap(frankfort - face) + _wrap(ab - face) + tilt
    fhi = _distance(point, "sella", "gonion") / _distance(point, "nasion", "menton")
    fma = _wrap(direction("sella", "nasion") - direction("gonion", "gnathion"))
    ahead = (point["upper-incisor-tip"] - point["lower-incisor-tip"])[..., 0] * front
    overjet = _distance(point, "upper-incisor-tip", "lower-incisor-tip").masked_fill(ahead.isnan(), torch.nan)
    mw = torch.where(ahead < 0, -overjet, overjet)
    return torch.stack([_wrap(sna - snb), snb, sna, odi, apdi, fhi, fma, mw], dim=-1)


def cephalometric_types(values: Float[Tensor, "*case 8"]) -> Int[Tensor, "*case 8"]:
    """Sort the measures into the challenge's types.

    Of MW the challenge lists 0 as type 2 (edge to edge), less as type 3 (cross-bite) and 2 to 4.5 mm as normal. What
    lies between 0 and 2 mm is type 3 here, as in the scripts that circulate with its labels.

    Args:
        values: The measures in the order of `MEASURES`.

    Returns:
        Types 1 to 4, 1 being normal; 0 where the measure is NaN.

    Example:
        >>> cephalometric_types(torch.tensor([4.0, 80.0, 78.0, 90.0, 81.0, 0.6, 30.0, -1.0]))
        tensor([1, 3, 3, 2, 1, 3, 1, 3])
    """
    types = []
    for value, measure in zip(values.unbind(-1), MEASURES.values(), strict=True):
        low, high = measure.normal
        side = (value >= low).long() + (value > high).long()
        types.append(torch.tensor(measure.types, device=values.device)[side].masked_fill(value.isnan(), 0))
    types[-1] = types[-1].masked_fill(values[..., -1] == 0, EDGE_TO_EDGE)
    return torch.stack(types, dim=-1)


class Cephalometry(LandmarkMetric):
    """Share of films whose type follows correctly, and mean absolute difference, for each of the eight measures.

    Source: Wang et al. 2016, see `cephalometric_measures`. The true type is that of the true landmarks. The success
    rate is the share of correctly sorted films; `scr` is its mean over the measures.
    """

    title = "Cephalometry"
    requires = frozenset({"spacing"})

    @classmethod
    def unsupported(cls, anatomy: Anatomy) -> str | None:
        """Ask for the landmarks of the challenge by name.

        Args:
            anatomy: The dataset's landmarks, groups, normaliser, radii and unit.

        Returns:
            The reason in one sentence, or None.
        """
        absent = [name for name in LANDMARKS if name not in anatomy.names]
        if absent:
            return f"The dataset lacks the landmark {absent[0]!r} of the skull."
        return super().unsupported(anatomy)

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Compare the measures and the types of each film.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            1 or 0 for each measure's type, then the absolute differences; NaN where a landmark is missing.
        """
        index = [self.anatomy.names.index(name) for name in LANDMARKS]
        hidden = ~present(cases)[:, index, None]
        points, target = (
            (xy[:, index] * cases.spacing[:, None]).masked_fill(hidden, torch.nan)
            for xy in (cases.points, cases.target)
        )
        predicted, true = cephalometric_measures(points), cephalometric_measures(target)
        same = (cephalometric_types(predicted) == cephalometric_types(true)).to(predicted.dtype)
        difference = (predicted - true).abs()
        return torch.cat([same.masked_fill(difference.isnan(), torch.nan), difference], dim=-1)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Average over the films.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `scr` and `scr_anb` ... in %, then `anb_mae` ... in the measure's unit.
        """
        same, difference = terms.chunk(2, dim=-1)
        rates = {
            f"scr_{name.lower()}": 100 * pooled_mean(same[..., i : i + 1], counts) for i, name in enumerate(MEASURES)
        }
        errors = {
            f"{name.lower()}_mae": pooled_mean(difference[..., i : i + 1], counts) for i, name in enumerate(MEASURES)
        }
        return {"scr": torch.stack(list(rates.values())).nanmean(0), **rates, **errors}

    def measure(self, cases: Cases) -> dict[str, Measurement]:
        """Measure the eight; of a film of unknown spacing, whose pixels are taken for square, all but MW.

        Args:
            cases: Predictions in original pixels.

        Returns:
            The names of `MEASURES` to their values.
        """
        index = [self.anatomy.names.index(name) for name in LANDMARKS]
        known = cases.spacing.isfinite().all(-1)
        values = cephalometric_measures(
            cases.points[:, index] * torch.where(known[:, None], cases.spacing, 1.0)[:, None]
        )
        columns = zip(MEASURES.items(), values.unbind(-1), strict=True)
        return {
            name: Measurement(column.masked_fill(~known, torch.nan) if measure.unit == "mm" else column, measure.unit)
            for (name, measure), column in columns
        }

    def columns(self) -> dict[str, Column]:
        """Describe success rates and differences.

        Returns:
            Column name to its description.
        """
        rates = {f"scr_{name.lower()}": Column(f"SCR {name}", "%", True) for name in MEASURES}
        errors = {f"{name.lower()}_mae": Column(f"{name} MAE", m.unit, False) for name, m in MEASURES.items()}
        return {"scr": Column("SCR", "%", True), **rates, **errors}


def _wrap(degrees: Float[Tensor, "*case"]) -> Float[Tensor, "*case"]:
    return torch.remainder(degrees + 180, 360) - 180


def _distance(point: dict[str, Tensor], start: str, end: str) -> Float[Tensor, "*case"]:
    distance: Tensor = torch.linalg.vector_norm(point[end] - point[start], dim=-1)
    return distance
