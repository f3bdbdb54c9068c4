"""Plain text from files and TFDS sets, read once, in a stream."""
