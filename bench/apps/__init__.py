"""Applications that are measured beside this project: as little as is needed around the simulated engine."""
