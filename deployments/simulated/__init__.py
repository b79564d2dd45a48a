"""The simulated engine: for load and scale tests, which measure the framework around an engine."""
