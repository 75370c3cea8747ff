"""What many calls that end at once take, and what follows from it for Lambda; not deployed.

`python -m bench.load` puts calls of five minutes on their own streams, their jobs into the
queue, and lets several ArchiveFunctions work them off under the services' quotas. `--write` puts
the tables, and the model that is computed from them, into docs/capacity.md.
"""
