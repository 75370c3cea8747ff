"""Events and messages for the functions → checked jobs."""
