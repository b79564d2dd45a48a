"""The Helm chart, and what of this repository is copied into it."""
