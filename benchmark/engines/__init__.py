"""Where cells run: one module per engine."""
