"""Leaderboards: a pure function of stored scores, facts and runs, in every format from Markdown to a site."""

from pathlib import Path
from typing import Final

PUBLISHED: Final = Path(__file__).parent / "published"
"""The results of real films that come with the suite."""
