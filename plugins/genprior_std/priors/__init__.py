"""Priors: where codes come from."""
