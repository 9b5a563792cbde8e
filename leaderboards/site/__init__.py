"""The site: static pages of a scored run store, opened from a file, without a server and without the network."""
