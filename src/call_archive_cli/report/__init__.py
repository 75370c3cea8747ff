"""Recordings and their manifests → one HTML page to look at and to listen to."""
