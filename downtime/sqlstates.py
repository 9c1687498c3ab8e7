"""The SQLSTATEs the product reacts to, each named once.

Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
"""

from __future__ import annotations

ACTIVE_SQL_TRANSACTION = "25001"  # the statement cannot run inside a transaction block
READ_ONLY_SQL_TRANSACTION = "25006"
INSUFFICIENT_PRIVILEGE = "42501"
UNDEFINED_TABLE = "42P01"
UNDEFINED_COLUMN = "42703"
INVALID_SCHEMA_NAME = "3F000"
LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"
QUERY_CANCELED = "57014"          # statement_timeout and cancel requests alike
IN_FAILED_SQL_TRANSACTION = "25P02"
OUT_OF_MEMORY = "53200"            # the lock table is full
OF_A_LOST_CONNECTION = ("08", "57P")        # classes: connection exceptions, operator intervention (shutdown, crash)
