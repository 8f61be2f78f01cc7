"""Conditioners: what is told about images and asked of new ones."""
