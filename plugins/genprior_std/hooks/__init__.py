"""Hooks: what is done beside training."""
