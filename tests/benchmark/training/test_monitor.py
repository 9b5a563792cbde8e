"""Names that the leaves spell themselves, since nothing below may import the benchmark."""

from leaderboards.site import run_predictions
from methods import base


def test_the_site_reads_the_column_that_training_monitors() -> None:
    assert run_predictions.MONITOR == base.MONITOR
