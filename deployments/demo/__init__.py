"""The demonstration models: small, trained on the spot, loaded by the same engine as the large ones."""
