"""Transformers by masked words."""
