"""Tables of rows and scores, in which only numbers that can be compared share a column."""
