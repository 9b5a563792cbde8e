"""Tables and plots of scores on corrupted films."""
