"""Checks of parts that models share: each refuses, when a model is built, what the model could not train."""
