"""Coverage-guided fuzzing of everything that takes bytes from outside; not deployed.

`python -m fuzz` (make fuzz) runs the targets; `fuzz.targets` names them, and needs no fuzzer, so
that an ordinary test replays the corpus.
"""
