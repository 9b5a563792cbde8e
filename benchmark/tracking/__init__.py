"""Weights & Biases as a spectator: what it is told of a run while it trains, at its end and from the store."""
