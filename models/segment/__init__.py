"""Segmentation networks: one architecture per file, torch definitions only."""
