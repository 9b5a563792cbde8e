"""Base classes of datasets that share a layout; nothing here is a dataset."""
