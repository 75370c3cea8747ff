"""What Call Archive costs: CPU, time and memory, measured as whole processes; not deployed.

`python -m bench` runs everything and writes docs/benchmarks.md, `python -m bench --quick` prints
the main ratios. Processes are compared with others of the same round, because a machine that is
shared drifts.
"""
