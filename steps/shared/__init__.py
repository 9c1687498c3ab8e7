"""What the steps of the runbook have in common, and what they expect of the master; nothing here imports `master`.

    base, phase       how a step speaks, fails and is stopped; a step that shows a phase of the critical section
    names, results    the names of builders, forms and properties; Buildbot's results
    services          what steps expect of the master's services
    asking            who asked for a build, and whether they may
    errands, landings, offers, staging_evidence
                      what a build is about, why a patch is held back, how it reaches the next builder, what is known
    commands, wording
                      shell commands with a deadline; texts for people
"""
