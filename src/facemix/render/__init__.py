"""The open face generator: path-traced heads from CC0 data, with exact points; knows faces, not learning."""
