"""The explorer: `genprior explore RUN` opens a local app in which sliders move the noise of a trained model."""
