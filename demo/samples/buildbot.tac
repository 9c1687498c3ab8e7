# Written by the demo; `twistd -y` reads it.
import os

from buildbot.master import BuildMaster
from twisted.application import service

os.umask(0o077)  # the state database holds the secret of the sessions
basedir = {basedir!r}
configfile = {config!r}  # `buildbot upgrade-master` looks for this name
application = service.Application('buildmaster')  # in these quotes: Buildbot looks for the very words
BuildMaster(basedir, configfile, umask=0o077).setServiceParent(application)
