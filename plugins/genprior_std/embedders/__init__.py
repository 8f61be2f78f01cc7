"""Embedders: sentences as vectors, from statistics of the training captions."""
