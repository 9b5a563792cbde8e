"""One cell from seed to predictions: training, its callbacks, and what is told and measured on the way."""
