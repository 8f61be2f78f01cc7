"""Reconstructions: errors between an image and its reconstruction."""
