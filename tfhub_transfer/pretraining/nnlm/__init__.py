"""Word vectors of a feed-forward language model."""
