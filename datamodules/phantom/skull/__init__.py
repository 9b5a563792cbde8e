"""Phantoms of the ISBI 2015 cephalograms."""
