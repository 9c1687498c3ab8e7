"""The sample application whose database is patched: its roles and its tables, the same for demo and tests."""

from __future__ import annotations

PATCHER = "patcher"        # owns the database, may see and end sessions, is no superuser
APPLICATION = "app"
FRAGILE = "process_upload"  # a script that loses data when it is cut in the middle of a transaction
SPARED = "monitor"          # never kicked


def password_of(role: str) -> str:
    """A role's password. No secret: the servers listen on loopback and live as long as the demo."""
    return f"{role}-secret"


ROLES = f"""
CREATE ROLE {PATCHER} LOGIN PASSWORD '{password_of(PATCHER)}' IN ROLE pg_monitor, pg_signal_backend;
CREATE ROLE {APPLICATION} LOGIN PASSWORD '{password_of(APPLICATION)}';
CREATE ROLE {FRAGILE} LOGIN PASSWORD '{password_of(FRAGILE)}';
CREATE ROLE {SPARED} LOGIN PASSWORD '{password_of(SPARED)}' IN ROLE pg_monitor;
"""

TABLES = f"""
SET ROLE {PATCHER};
CREATE TABLE account (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
                      balance bigint NOT NULL DEFAULT 0);
CREATE TABLE upload (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, path text NOT NULL,
                     seen_at timestamptz NOT NULL DEFAULT clock_timestamp());
INSERT INTO account (name) SELECT 'account ' || i FROM generate_series(1, 10) AS i;
GRANT SELECT, INSERT, UPDATE, DELETE ON account, upload TO {APPLICATION}, {FRAGILE};
"""
