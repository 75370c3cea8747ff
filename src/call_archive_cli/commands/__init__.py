"""The commands: one module for each, light enough for help and completion."""
