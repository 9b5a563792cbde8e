"""What a store says of the cells that run, wait, have failed or are done, while and after they run; no torch."""
