"""Runs and their folders: training, resuming, finding and sampling."""
