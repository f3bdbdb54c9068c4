"""Word vectors from co-occurrences."""
