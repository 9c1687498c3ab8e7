"""Alembic's environment as its documentation has it: `alembic upgrade head` on DATABASE_URL, in one transaction.

It is not a fast downtime: nobody is kept out and nobody is kicked. The patch waits for every transaction that uses the
table, for as long as that takes, and whoever wants the table then waits behind the patch.
"""

import os
import sys

import sqlalchemy
from alembic import context

engine = sqlalchemy.create_engine(sqlalchemy.make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2"))
with engine.connect() as connection:
    print("connected", flush=True)
    sys.stdin.readline()  # the benchmark says when: so that the start of Python is in no figure
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
