"""Bytes → fragments and what they say; no AWS, no clock, no environment."""
