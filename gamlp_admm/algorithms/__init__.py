"""The algorithms: each a list of phases and what it minimises."""
