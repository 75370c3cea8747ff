"""What the functions are told: events and messages → checked jobs."""
