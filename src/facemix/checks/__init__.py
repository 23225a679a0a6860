"""What the sets of faces hold twice, and how far two annotators lie apart."""
