"""Grids of trainings: which points, how they are trained, what they say."""
