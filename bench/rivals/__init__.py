"""The same conversion with other tools: each takes BODY and OUT, and writes the customer's PCM."""
