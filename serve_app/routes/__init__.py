"""The HTTP routes: each decodes, hands to the exchange, and encodes."""
