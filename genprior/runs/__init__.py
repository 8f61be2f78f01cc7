"""A run and its folder: training, resuming, finding, sampling."""
