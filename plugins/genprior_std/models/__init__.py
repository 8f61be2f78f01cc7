"""Models: one paper a file."""
