"""Leaderboards: Markdown and CSV tables as a pure function of what the runs left on disk; no torch."""
