"""Faults on purpose: what becomes of a real deployment when something dies, hangs or lies in the middle of it.

`world` is the place: a sandbox whose production is reached through a proxy. `moments` brings a deployment to a moment
and holds it there. The other modules are the faults, a row of the table each; `table` plays and prints them
(`make faults`), `tests/end_to_end/test_faults.py` plays the same rows, and docs/what-if.md explains them.
"""
