"""What is trained on top of an encoder: layers, loss, metrics and decoding."""
