"""Reconstructions: how far a reconstruction is from its image."""
