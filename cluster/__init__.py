"""Where it runs: from one machine to a cluster."""
