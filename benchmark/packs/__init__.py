"""One run in a zip file, so that someone else can recompute its scores."""
