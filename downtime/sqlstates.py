"""The SQLSTATEs the product reacts to, each named once.

Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
"""

from __future__ import annotations

ACTIVE_SQL_TRANSACTION = "25001"            # the statement cannot run inside a transaction block
INSUFFICIENT_PRIVILEGE = "42501"
UNDEFINED_TABLE = "42P01"
INVALID_SCHEMA_NAME = "3F000"
UNDEFINED_FUNCTION = "42883"
OBJECT_NOT_IN_PREREQUISITE_STATE = "55000"  # as a FATAL at connect: datallowconn is false
LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"                    # statement_timeout and cancel requests alike
DEADLOCK_DETECTED = "40P01"
UNIQUE_VIOLATION = "23505"
