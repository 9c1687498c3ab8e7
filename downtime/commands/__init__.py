"""The command line, a command a file; each is thin over the functions that the steps use too.

What the commands share:

    arguments     the parser of them all, and what a command module has
    context       the settings, the repository and the databases as a command sees them; asking before it acts
    output        progress to standard error, the answer to standard output
    interruption  what Ctrl-C does, above all while a database is closed
    reports       an outage's report as text and as JSON
    standings     what status has seen, as text and as JSON
"""

from __future__ import annotations

from collections.abc import Mapping

from downtime.commands import apply, baseline, check, install, plan, probe, rehearse, reopen, require, status
from downtime.commands.arguments import Command

# In the order in which somebody needs them who starts with an existing database.
COMMANDS: Mapping[str, Command] = {
    "install": install, "baseline": baseline, "plan": plan, "check": check, "rehearse": rehearse, "apply": apply,
    "require": require, "status": status, "reopen": reopen, "probe": probe,
}
