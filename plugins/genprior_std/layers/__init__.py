"""Layers, blocks and posteriors that several networks are made of."""
