"""Badges and names that the leaves spell themselves, since nothing below may import the benchmark."""

from benchmark.badges import ORACLE_CROP, PRIVATE

from datamodules import private
from datamodules.families.vertebra_crop import crop_protocol
from leaderboards.site import board_pages
from methods import base


def test_datasets_give_the_badges_that_others_act_on() -> None:
    assert private.BADGE == PRIVATE
    assert [protocol.caveats for protocol in crop_protocol(("C3", "C4"), "a paper")] == [(ORACLE_CROP,)] * 2


def test_the_site_reads_the_column_that_training_monitors() -> None:
    assert board_pages.MONITOR == base.MONITOR
