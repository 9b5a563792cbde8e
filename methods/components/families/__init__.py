"""What the methods of one paper, or of one kind, share; nothing here is a method."""
