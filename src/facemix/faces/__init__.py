"""What a face is: points, geometry, formats, packs, splits."""
