"""What landmarks make up: structures, limbs between them, and shapes."""
