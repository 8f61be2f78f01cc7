"""`genprior bench`: compares runs, recipes and images under any scores in one table."""
