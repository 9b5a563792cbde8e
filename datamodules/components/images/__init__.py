"""From image files to 8-bit grey films, their cache, and what can corrupt a film."""
