"""The machinery of a fast downtime, usable with or without Buildbot (which it never imports).

Pure, decisions over values, no clock and no I/O:
    errors, sqlstates, settings, patches, statements, landing, plan, budget, approval, windows
Talk to something:
    node (PostgreSQL, and the only module that imports txpostgres), repository (git), pooler and prober (sockets);
    everything else talks through a Node it is handed.
"""
