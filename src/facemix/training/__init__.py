"""What decides weights and predictions: network, batches, loop, label adapter. Knows neither DVC nor MLflow."""
