"""Exporters: ways to write generated images."""
