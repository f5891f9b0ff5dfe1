"""Trained models that others learn from."""
