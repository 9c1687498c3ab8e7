"""Background tasks that rest while a downtime lasts: what stops each, tells that it is quiet, and resumes it.

Whatever its kind, a task becomes three shell commands, which is what the runbook runs, logs and keeps for a bad day.

    kinds             each kind of the settings as its commands. Pure
    tasks             the tasks of an environment in their order, and what is owed of them. Pure
    progress          what is stopped, what still has work, since when. Pure
    users             whether database users have sessions left
    crontab, celery_queues, rq_workers, http_call, maintenance_file
                      programs that those commands call (`python -m downtime.quiescing.crontab --help`); exit status 0:
                      done, or quiet; 1: not, and why; 2: wrong usage
    programs          what those have in common

`python -m downtime.quiescing` prints the commands of a settings file.
"""
