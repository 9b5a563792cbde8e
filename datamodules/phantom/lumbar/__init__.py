"""Phantoms of the lumbar datasets."""
