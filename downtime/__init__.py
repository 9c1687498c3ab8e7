"""The machinery of a fast downtime, usable with or without Buildbot (which it never imports).

Pure, decisions over values, no clock and no I/O:
    errors, sqlstates, printable, notices, literals, target, globs, windows, lanes, patches, statement_kinds,
    statements, landing, plan, excerpt, evidence, approval, phases, install
Talk to something:
    settings (its file and password files), node and parameters (PostgreSQL; node is the only module that imports
    txpostgres), git and repository, prober and probing (a process of its own); everything else talks through a Node.
The command line is `__main__` and `commands`.
"""
