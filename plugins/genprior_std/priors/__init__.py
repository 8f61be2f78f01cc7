"""Priors: the distributions that codes are drawn from."""
