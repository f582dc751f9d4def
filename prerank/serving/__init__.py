"""From a bundle to scores: NumPy and ONNX Runtime, and nothing of what trains."""
