"""Unit tests of the demonstration models."""
