"""Faces found without boxes: where in a picture they are. No landmarks yet, and no torch."""
