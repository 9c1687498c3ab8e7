# Written by the demo; `twistd -y` reads it.
import gc
import os
import sqlite3

gc.disable()  # thousands of modules are read, and nothing of them is garbage: a fifth of a start

from buildbot.master import BuildMaster
from sqlalchemy import event
from sqlalchemy.engine import Engine
from twisted.application import service
from twisted.internet import reactor

STARTED_SECONDS = 3.0
reactor.callLater(STARTED_SECONDS, gc.enable)


@event.listens_for(Engine, 'connect')
def trust_the_machine(connection, _):
    """As the demo's servers do: a master may be killed as often as you like, the machine may not. Waiting for the disk
    is a quarter of a deployment's time."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute('PRAGMA synchronous = OFF')


os.umask(0o077)  # the state database holds the secret of the sessions
basedir = {basedir!r}
configfile = {config!r}  # `buildbot upgrade-master` looks for this name
application = service.Application('buildmaster')  # in these quotes: Buildbot looks for the very words
BuildMaster(basedir, configfile, umask=0o077).setServiceParent(application)
