"""Scores of images and models, with every feature computed once."""
