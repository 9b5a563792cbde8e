"""Procedural radiographs with exact landmarks, written in each dataset's true on-disk layout."""
