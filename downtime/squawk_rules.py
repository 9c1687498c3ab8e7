"""The rules of squawk, the linter, and which of them say something about a patch here. Pure.

The names are those of squawk 2.70 (https://squawkhq.com/docs/rules). squawk refuses a name that it does not know, so
a rule that another version adds or drops shows at the first call, and in the tests.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from downtime.lanes import Lane

_ONCE = "a patch is applied once: in one transaction, or journalled statement by statement"
_TIMEOUTS = "the deployment sets the timeouts of its session"
_TYPES = "which type a column has is its author's choice; neither an outage nor a client depends on it"
_STATEMENTS = "the statements of a patch are examined by PostgreSQL's own parser, and these are refused with their line"
_CONCURRENTLY = "its advice is CONCURRENTLY, which cannot run in a transaction; a cold patch blocks no clients"

# Not looked for in either lane, each with the reason.
QUIET = {
    "prefer-robust-stmts": f"{_ONCE}; IF NOT EXISTS would take for done what somebody else has left half done",
    "require-lock-timeout": _TIMEOUTS,
    "require-statement-timeout": _TIMEOUTS,
    "require-timeout-settings": _TIMEOUTS,
    "prefer-bigint-over-int": _TYPES,
    "prefer-bigint-over-smallint": _TYPES,
    "prefer-identity": _TYPES,
    "prefer-text-field": _TYPES,
    "prefer-timestamp-tz": _TYPES,
    "ban-char-field": _TYPES,
    "require-enum-value-ordering": "a value without BEFORE or AFTER comes last, as PostgreSQL documents it",
    "transaction-nesting": _STATEMENTS,
    "ban-uncommitted-transaction": _STATEMENTS,
    "ban-concurrent-index-creation-in-transaction": _STATEMENTS,
}

# Not looked for in cold patches, each with the reason.
QUIET_IN_COLD = dict.fromkeys((
    "require-concurrent-index-creation", "require-concurrent-index-deletion", "require-concurrent-reindex",
    "require-concurrent-partition-detach", "disallowed-unique-constraint", "adding-serial-primary-key-field",
    "prefer-repack"), _CONCURRENTLY)

# Looked for only where `lint.block` names them: squawk itself leaves them out until it is asked.
OPT_IN = frozenset({
    "require-table-schema", "ban-add-column", "ban-add-composite-attribute", "ban-add-enum-value",
    "ban-alter-database-options", "ban-alter-extension", "ban-alter-function-options",
    "ban-alter-generated-expression", "ban-alter-identity", "ban-alter-policy-condition", "ban-alter-policy-roles",
    "ban-alter-role-options", "ban-alter-row-level-security", "ban-alter-sequence-values", "ban-alter-system-options",
    "ban-alter-view-options", "ban-create-policy", "ban-detach-inheritance", "ban-disable-trigger", "ban-drop-index",
    "ban-drop-policy", "ban-drop-trigger", "ban-new-write-restriction", "ban-replace-view-function",
    "ban-replica-identity", "ban-revoke", "ban-set-default"})

# Looked for unless `lint.off` names them.
USUAL = frozenset({
    "adding-field-with-default", "adding-foreign-key-constraint", "adding-not-nullable-field",
    "adding-required-field", "ban-alter-domain-with-add-constraint", "ban-create-domain-with-constraint",
    "ban-drop-column", "ban-drop-constraint", "ban-drop-database", "ban-drop-default", "ban-drop-domain",
    "ban-drop-extension", "ban-drop-function", "ban-drop-generated-expression", "ban-drop-not-null",
    "ban-drop-schema", "ban-drop-sequence", "ban-drop-table", "ban-drop-type", "ban-drop-view",
    "ban-duplicate-column-assignments", "ban-set-schema", "ban-truncate-cascade", "changing-column-type",
    "constraint-missing-not-valid", "identifier-too-long", "renaming-column", "renaming-object", "renaming-table"})

ALL = USUAL | OPT_IN | QUIET.keys() | QUIET_IN_COLD.keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which rules squawk is told to leave out, and which to look for beside its usual ones."""

    exclude: frozenset[str]
    include: frozenset[str]


def choose(lane: Lane, *, block: Iterable[str], off: Iterable[str]) -> Choice:
    """The rules for patches of a lane. What is to refuse a patch is looked for, even where it is quiet by default."""
    blocking = frozenset(block)
    # blocking ones too: no cold patch could do what they ask for
    never = QUIET_IN_COLD.keys() if lane is Lane.COLD else frozenset()
    return Choice(exclude=(frozenset(QUIET) | frozenset(off)) - blocking | never, include=blocking & OPT_IN)


def unknown(name: str, *, also: Iterable[str] = ()) -> str:
    """What is wrong with the name of a rule, to stand behind it: an empty string where nothing is."""
    known = ALL.union(also)
    if name in known:
        return ""
    close = difflib.get_close_matches(name, known, n=1)
    return "is no rule of squawk" + (f"; did you mean `{close[0]}`?" if close else "")
