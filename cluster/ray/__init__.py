"""Bare machines joined by `ray start`: what a machine needs, and units, rules and files for it."""
