"""What a trained run is used for: films that no dataset knows, other sites' datasets, other programs."""
