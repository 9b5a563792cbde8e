"""The benchmark: a matrix of cells, the engine that runs them, the store they leave behind, and its scores."""
