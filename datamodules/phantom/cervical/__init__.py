"""Phantoms of the cervical datasets and of the vertebra crops."""
