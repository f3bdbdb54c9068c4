"""Words, their numbers and counts, and their vectors as a module."""
