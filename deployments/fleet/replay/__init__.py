"""Replay of recorded and made-up traffic against the fleet policy, in virtual time."""
