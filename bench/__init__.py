"""Benchmarks: outages beside those of the scripts in `peers/`, and what grows as the work grows.

`python -m bench` runs them all and can write docs/benchmarks.md. Nothing here judges by its exit status: a busy machine
is no failure, and a missed goal is printed, not hidden.
"""
