"""The stack of `deploy/`: what of it can be checked without a network."""
