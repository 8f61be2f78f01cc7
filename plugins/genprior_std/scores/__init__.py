"""Scores of generated images and of trained models."""
