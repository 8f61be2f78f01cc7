"""One step of training: phases, optimisers, averaged weights, device and precision, and the builder of models."""
