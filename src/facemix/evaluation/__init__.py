"""What reads weights and predictions: errors, the ONNX export, the served model."""
