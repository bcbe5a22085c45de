"""Benchmarks that reproduce the tables of the documentation."""
