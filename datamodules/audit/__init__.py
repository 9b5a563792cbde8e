"""What is in a dataset folder: what is missing or odd, and which films occur twice."""
