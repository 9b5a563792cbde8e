"""What every part of the data layer raises when files are not what they should be."""

from __future__ import annotations


class DataError(ValueError):
    """A dataset on disk is not what it should be; the message names the file and the cure."""
