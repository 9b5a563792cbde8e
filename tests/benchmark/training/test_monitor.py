"""Names that the leaves spell themselves, since nothing below may import the benchmark."""

from leaderboards.site import board_pages
from methods import base


def test_the_site_reads_the_column_that_training_monitors() -> None:
    assert board_pages.MONITOR == base.MONITOR
