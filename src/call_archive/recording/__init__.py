"""Fragments → one recording and its manifest; decisions without I/O."""
