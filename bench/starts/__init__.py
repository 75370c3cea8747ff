"""What a cold start runs, and what it is compared with; run as scripts, by path."""
