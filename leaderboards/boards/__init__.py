"""From stored files to boards: rows, statistics, ties, badges and the papers' own numbers."""
