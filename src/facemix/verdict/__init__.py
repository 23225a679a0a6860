"""Statistics: what the results say."""
