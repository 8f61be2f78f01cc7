"""Checks of a model's parts: each raises a PlanError, when the model is built, for parts that it cannot train."""
