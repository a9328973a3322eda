"""Training recipes of the bundled networks: one readable file each (they need the `train` extra)."""
