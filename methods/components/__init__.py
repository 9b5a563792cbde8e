"""Shared parts of the methods; nothing here is a method."""
