"""Phantoms of the Digital Hand Atlas."""
