"""The command line: the roof of the house, and the only room that may import from all others."""
