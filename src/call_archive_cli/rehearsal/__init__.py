"""`rehearse`: known calls through a deployed stack, compared with what was said, and removed."""
