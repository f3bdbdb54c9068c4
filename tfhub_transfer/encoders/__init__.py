"""Pre-trained text encoders: named, resolved to a directory, loaded as a Keras layer, cached."""
