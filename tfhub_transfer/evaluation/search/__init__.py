"""A search for settings: its trials, the retraining of the best, and its report."""
