"""Parsers of the public datasets' label files."""
