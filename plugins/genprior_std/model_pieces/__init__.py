"""Pieces that models share: base classes with common methods, inference, and small pieces of losses."""
