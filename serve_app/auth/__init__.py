"""Who is asking: bearer tokens and the principal that they name."""
