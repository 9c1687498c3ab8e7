"""The machinery of a fast downtime, usable with or without Buildbot (which it never imports).

Pure, decisions over values, no clock and no I/O:
    errors, sqlstates, printable, notices, literals, target, globs, windows, lanes, extent, patches, parsing,
    statement_kinds, statements, dividing, landing, plan, squawk_rules, waivers, findings, footprints, observations,
    documented_locks, lane_safety, remedies, excerpt, speed_settings, copy_age, runs, evidence, evidence_text, approval,
    phases, install, pooler_names, fleet.matrix, quiescing (kinds, tasks, progress)
Talk to something:
    settings (its file and password files), node and parameters (PostgreSQL; node is the only module that imports
    txpostgres), pooler (the console of a PgBouncer), git and repository, squawk and lint (the linter, a program);
    prober and probing, watchdog and watching, and the programs of quiescing are processes of their own; everything
    else talks through a Node.
The command line is `__main__` and `commands`.
"""
