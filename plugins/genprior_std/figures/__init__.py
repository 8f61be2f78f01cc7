"""Figures of "Learning priors for adversarial autoencoders", from finished runs."""
