"""One thin module per command and DVC stage: read params, call, write."""
