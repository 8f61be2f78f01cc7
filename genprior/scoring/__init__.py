"""Measures scores of models and images; features that scores share are computed once."""
