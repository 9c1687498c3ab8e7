"""Hostile patches as data: what each file holds, in which lane, and what becomes of it.

Each is refused before anything is sent to a server, or fails on staging and is rolled back, or survives: applied, in
the ledger, and without effect on the next one. What is refused or fails says so with file and line, in `says`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from downtime.lanes import Lane
from downtime.patches import BYTE_ORDER_MARK, LARGEST_BYTES


class Fate(StrEnum):
    """What becomes of a hostile patch."""

    REFUSED = "refused"    # by the judgement of the landing: nothing is sent to a server
    FAILS = "fails"        # in its rehearsal, rolled back
    SURVIVES = "survives"  # applied; only what it was meant to do is left


@dataclass(frozen=True, slots=True, kw_only=True)
class HostilePatch:
    """One file. Its lane is declared in its first line, where it has one."""

    name: str
    content: bytes
    fate: Fate
    says: str = ""  # part of the verdict, with `{path}` for the file's path in the repository
    lane: Lane = Lane.COLD

    def verdict(self, path: str) -> str:
        """What somebody must be able to read about a patch at that path."""
        return self.says.replace("{path}", path)


def refused(name: str, sql: str, says: str, *, lane: Lane = Lane.COLD) -> HostilePatch:
    return HostilePatch(name=name, content=_declared(sql, lane), fate=Fate.REFUSED, says=says, lane=lane)


def fails(name: str, sql: str, says: str, *, lane: Lane = Lane.COLD) -> HostilePatch:
    return HostilePatch(name=name, content=_declared(sql, lane), fate=Fate.FAILS, says=says, lane=lane)


def survives(name: str, sql: str, *, lane: Lane = Lane.COLD) -> HostilePatch:
    return HostilePatch(name=name, content=_declared(sql, lane), fate=Fate.SURVIVES, lane=lane)


def unreadable(name: str, content: bytes, says: str) -> HostilePatch:
    return HostilePatch(name=name, content=content, fate=Fate.REFUSED, says=says)


def _declared(sql: str, lane: Lane) -> bytes:
    return f"-- apply: {lane}\n{sql}\n".encode()


TWENTY_MEGABYTES = 20_000_000
MANY = 50_000
SCRIPT = "</script><script>alert(1)</script>"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e"

UNREADABLE = (
    unreadable("byte order mark", BYTE_ORDER_MARK + b"SELECT 1;\n", "{path}, line 1: the file starts with a byte"),
    unreadable("Latin-1", b"-- apply: cold\nSELECT 'Gr\xf6\xdfe';\n", "{path}, line 2: byte 25 (0xf6) is not UTF-8"),
    unreadable("NUL", b"-- apply: cold\n\nSELECT '\0';\n", "{path}, line 3: there is a NUL byte"),
    unreadable("empty", b"", "{path} has no statement"),
    unreadable("nothing but comments", b"-- apply: cold\n/* later */\n;\n", "{path} has no statement"),
    unreadable("20 MB", b"-- apply: cold\nSELECT '" + b"x" * TWENTY_MEGABYTES + b"';\n",
               f"{{path}}: 20,000,026 bytes are more than a patch may have ({LARGEST_BYTES:,})"),
)

REFUSED = (
    refused("COMMIT", "CREATE TABLE hostile (id int);\nCOMMIT;", "{path}, line 3: COMMIT in a patch"),
    refused("ROLLBACK", "ROLLBACK; CREATE TABLE hostile (id int);", "{path}, line 2: ROLLBACK in a patch"),
    refused("PREPARE TRANSACTION", "SELECT 1;\nPREPARE TRANSACTION 'x';", "line 3: PREPARE TRANSACTION in a patch"),
    refused("SET TRANSACTION", "SET TRANSACTION READ ONLY;", "{path}, line 2: SET TRANSACTION in a patch"),
    refused("CONCURRENTLY in the cold lane", "\nCREATE INDEX CONCURRENTLY hostile ON account (name);",
            "{path}, line 3: CREATE INDEX CONCURRENTLY cannot run inside a transaction"),
    refused("syntax error on line 500", "\n" * 498 + "ALTER TABEL account;", "{path}, line 500, column 7: syntax"),
    refused("unfinished quote", "SELECT 1;\nSELECT 'abc;\nCOMMIT;", "{path}, line 3, column 8: unterminated quoted"),
    refused("unfinished dollar quote", "DO $x$ BEGIN;\nEND $y$;", "{path}, line 2, column 4: unterminated dollar"),
    refused("psql's \\i", "\\i other.sql", "{path}, line 2, column 1: psql meta-command \\i"),
    refused("COPY with its data", "COPY account FROM STDIN;\n1\tx\t2\n\\.", "{path}, line 2, column 1: COPY FROM"),
    refused("an endless expression", "SELECT " + "1+" * 100_000 + "1;", "{path}, line 2, column 1: an expression of"),
    refused("DISCARD ALL", "SELECT 1;\nDISCARD ALL;", "{path}, line 3: DISCARD ALL gives up the", lane=Lane.LIVE),
    refused("VACUUM FULL", "VACUUM FULL account;", "{path}, line 2: VACUUM FULL locks clients out", lane=Lane.LIVE),
    refused("SET LOCAL", "SET LOCAL search_path = public;", "{path}, line 2: SET LOCAL ends with", lane=Lane.LIVE),
    refused("CLUSTER", "CLUSTER account USING account_pkey;", "{path}, line 2: CLUSTER locks clients out",
            lane=Lane.LIVE),
    refused("REINDEX", "REINDEX DATABASE;", "{path}, line 2: REINDEX DATABASE locks clients out", lane=Lane.LIVE),
)

COMMITTING_PROCEDURE = "CREATE PROCEDURE hostile() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';\n"

FAILING = (
    fails("literals that hide a COMMIT", "SET standard_conforming_strings = off;\nSELECT 'a\\'';COMMIT;--';",
          "{path}, line 2: standard_conforming_strings is off from here on"),
    fails("literals that hide a COMMIT, by function",
          "SELECT 1;\nSELECT set_config('standard_conforming_' || 'strings', 'off', true);\nSELECT 'a\\'';COMMIT;--';",
          "{path}, line 3: standard_conforming_strings is off from here on"),
    fails("another encoding", "SET NAMES 'SJIS';\nSELECT '表';", "{path}, line 2: client_encoding is SJIS from here"),
    fails("CALL that commits", f"{COMMITTING_PROCEDURE}CALL hostile();", "{path}, line 3: invalid transaction"),
    fails("DO that commits", "CREATE TABLE hostile (id int);\nDO 'BEGIN COMMIT; END';",
          "{path}, line 3: invalid transaction"),
    fails("read-only", "SELECT set_config('transaction_read_only', 'on', false);\nSELECT 1;",
          "{path}, line 2: the transaction has been made read-only"),
    fails("drops the ledger", "DROP TABLE fastdowntime.ledger;", "{path}, line 2: must be owner of table ledger"),
    fails("empties the ledger", "DELETE FROM fastdowntime.ledger;", "{path}, line 2: permission denied"),
    fails("a trigger on the ledger", "CREATE FUNCTION hostile() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END';\n"
          "CREATE TRIGGER hostile AFTER INSERT ON fastdowntime.ledger EXECUTE FUNCTION hostile();",
          "{path}, line 3: permission denied"),
    fails("another user", "SELECT 1;\nSET SESSION AUTHORIZATION postgres;", "{path}, line 3: permission denied"),
    fails("megabytes of complaint", "DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 10000000); END $$;",
          "… (10,000,000 characters in all)"),
    fails("CALL that commits, live", f"{COMMITTING_PROCEDURE}CALL hostile();",
          "{path}, line 3: invalid transaction", lane=Lane.LIVE),
    fails("read-only, live", "SELECT set_config('transaction_read_only', 'on', false);",
          "{path}, line 2: the transaction has been made read-only", lane=Lane.LIVE),
    fails("literals, live", "SELECT 1;\nSET standard_conforming_strings = off;",
          "{path}, line 3: standard_conforming_strings is off from here on", lane=Lane.LIVE),
)

HOSTILE_SCHEMA = """\
CREATE SCHEMA hostile;
CREATE TABLE hostile.ledger (id text);
CREATE DOMAIN hostile.timestamptz AS int;
CREATE FUNCTION hostile.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$reached$$; END';
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.eq);
SET search_path = hostile, pg_catalog;
"""

TIMEOUTS_OFF = """\
SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
SET client_connection_check_interval = 0; SET tcp_keepalives_idle = 7200; SET LOCAL tcp_keepalives_count = 9;
"""

LATER = " ".join(
    f"EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET {setting}', current_database());"
    for setting in ("standard_conforming_strings = off", "statement_timeout = 1", "default_transaction_read_only = on",
                    "idle_session_timeout = 1", "DateStyle = SQL"))

SURVIVING = (
    survives("timeouts off", f"{TIMEOUTS_OFF}SELECT 1;"),
    survives("RESET ALL", "RESET ALL;"),
    survives("another role", "SET ROLE pg_monitor;\nSELECT 1;"),
    survives("a hostile search_path", HOSTILE_SCHEMA),
    survives("temporary tables", "CREATE TEMP TABLE ledger (id text);\nCREATE TEMP TABLE timestamptz (id int);"),
    survives("session settings", "SET row_security = off; SET DateStyle = 'German'; SET client_min_messages = debug5;"),
    survives("the deployment lock given up", "SELECT pg_advisory_unlock_all();\nSELECT 1;"),
    survives("defaults for later sessions", f"DO $$ BEGIN {LATER} END $$;"),
    survives("a million NOTICEs",
             "DO $$ BEGIN FOR i IN 1 .. 1000000 LOOP RAISE NOTICE 'line %', i; END LOOP; END $$;"),
    survives("megabytes of NOTICEs",
             "DO $$ BEGIN FOR i IN 1 .. 100 LOOP RAISE NOTICE '%', repeat('x', 1000000); END LOOP; END $$;"),
    survives("HTML and terminal escapes",
             f"-- {SCRIPT}{ESCAPES}\nSELECT '{SCRIPT}{ESCAPES}';\n"
             f"DO $$ BEGIN RAISE NOTICE '{SCRIPT}{ESCAPES}'; END $$;\nCREATE TABLE \"hostile{SCRIPT}\" (id int);"),
    survives("50,000 statements", "".join(f"INSERT INTO upload (path) VALUES ('path {i}');\n" for i in range(MANY))),
    survives("timeouts off, live", f"{TIMEOUTS_OFF}SELECT 1;".replace("SET LOCAL", "SET"), lane=Lane.LIVE),
    survives("another role, live", "SET ROLE pg_monitor;\nSELECT 1;", lane=Lane.LIVE),
    survives("a hostile search_path, live", HOSTILE_SCHEMA, lane=Lane.LIVE),
    survives("temporary tables, live", "CREATE TEMP TABLE timestamptz (id int);", lane=Lane.LIVE),
)

PATCHES = (*UNREADABLE, *REFUSED, *FAILING, *SURVIVING)
