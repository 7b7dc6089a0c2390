"""Adapters to what is outside the pipeline: artefacts, onnxruntime, queues."""
