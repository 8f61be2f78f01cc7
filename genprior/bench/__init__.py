"""`genprior bench`: runs, recipes and images from anywhere in one table, under any score."""
