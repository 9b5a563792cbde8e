"""Boards as Markdown, LaTeX, CSV, JSON and terminal tables."""
