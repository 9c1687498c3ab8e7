"""The settings: one YAML file, judged as a whole; every mistake is told at once, with its YAML path.

    values       the kinds of value: connections, secrets, paths, commands
    environments the databases
    quiesce      the background tasks that rest while a downtime lasts
    buildmaster  the web side and the sign-in
    sections     all the rest, and the file as a whole
    file         finds, reads and judges the file, and words what is wrong with it
"""

from downtime.settings.buildmaster import Auth, Buildmaster
from downtime.settings.environments import Environment, Environments, Gate, Kick, Windows
from downtime.settings.file import find, load
from downtime.settings.quiesce import Quiesce
from downtime.settings.sections import Patches, People, Role, Settings, UndeclaredLane

__all__ = [
    "Auth", "Buildmaster", "Environment", "Environments", "Gate", "Kick", "Patches", "People", "Quiesce", "Role",
    "Settings", "UndeclaredLane", "Windows", "find", "load",
]
