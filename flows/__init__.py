"""Importable contact flows, the source they are made from, and a checker for any flow.

`source` → `voicemail.json`, `whole-call.json` and the same two in template.yaml (`make flows`);
a flow's JSON → findings (`python -m flows.check FILE…`).
"""
