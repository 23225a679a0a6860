"""The sections of the report: pure functions from what the stages left to pieces of the page."""
