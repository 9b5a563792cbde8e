"""Abstract methods: what several methods of one kind do alike."""
