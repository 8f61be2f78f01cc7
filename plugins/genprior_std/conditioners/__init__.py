"""Conditioners: the conditions of a model, `known` of images and `asked` of new ones."""
