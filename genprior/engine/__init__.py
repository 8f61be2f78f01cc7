"""One step of training: phases, optimisers, averaged weights, and what a model is made with."""
