"""Trained detectors in use: pictures, video and a page."""
