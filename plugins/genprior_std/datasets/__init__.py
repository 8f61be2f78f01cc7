"""Data sets: digits that ship with scikit-learn, sets that download once, and a user's own images."""
