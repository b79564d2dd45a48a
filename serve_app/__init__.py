"""The ingress: an OpenAI-compatible API in front of the model deployments."""
