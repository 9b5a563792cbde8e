"""Datasets described by a card, a YAML file, instead of by code."""
