"""The detector: model, augmentation, batches, training, adaptation, evaluation. Knows neither DVC nor MLflow."""
