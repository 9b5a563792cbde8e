"""Share of cases whose mean error lies under 1.5 and 2 mm."""

import numpy as np
import pytest
import torch

from metrics.share_within import ShareWithin, share_within

from .conftest import SPINE, make_spines


def test_shares_agree_with_numpy() -> None:
    cases = make_spines(60, missing=0.2)
    metric = ShareWithin(SPINE)
    result = metric.reduce(metric.terms(cases))
    means = np.array(
        [
            np.linalg.norm((points - target)[visible] * spacing, axis=1).mean()
            for points, target, visible, spacing in zip(*(field.numpy() for field in cases[:4]), strict=True)
        ]
    )
    assert 0 < (means < 1.5).sum() < (means < 2).sum() < 60
    assert result["within_1.5mm"].item() == pytest.approx(100 * (means < 1.5).mean())
    assert result["within_2mm"].item() == pytest.approx(100 * (means < 2).mean())


def test_a_case_at_the_limit_does_not_count() -> None:
    errors = torch.tensor([1.999, 2.0, 2.001, torch.nan])
    assert share_within(errors, 2.0).item() == pytest.approx(100 / 3)


def test_a_film_without_spacing_does_not_count() -> None:
    cases = make_spines(5)
    cases.spacing[:2] = torch.nan
    metric = ShareWithin(SPINE)
    assert metric.terms(cases)[:, 0].isnan().tolist() == [True, True, False, False, False]
