"""The training step: phases, optimisers, averaged weights, device and precision, sampling, and the model builder."""
