"""Encoders, decoders and critics."""
