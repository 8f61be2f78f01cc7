"""Tables of rows and scores; a column holds only comparable numbers."""
