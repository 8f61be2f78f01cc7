"""Launches the rows of a recipe: a check of each row, then training in this process or in parallel processes."""
