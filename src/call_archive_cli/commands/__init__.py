"""What a person types: one module for each command, light enough for help and completion."""
