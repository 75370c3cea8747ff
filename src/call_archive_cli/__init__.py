"""The command `call-archive`: the operator's tool, on the same stages as the functions."""
