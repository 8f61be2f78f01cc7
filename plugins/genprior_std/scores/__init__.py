"""Scores: how good generated images are. torch-fidelity does the arithmetic."""
