"""The models: one Ray Serve deployment per model, each with a vLLM engine."""
