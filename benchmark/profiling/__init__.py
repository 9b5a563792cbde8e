"""Where the time and the memory of training go."""
