"""Shared parts of the datamodules; nothing here is a dataset."""
