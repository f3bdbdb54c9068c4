"""Text without labels -> a TF Hub module of one's own."""
