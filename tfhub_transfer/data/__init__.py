"""Labelled text: read, checked at the border, split, and fed to Keras."""
