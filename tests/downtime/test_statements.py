from __future__ import annotations

import threading

import pytest

from downtime import parsing, patches, statements
from downtime.patches import Lane, Patch
from downtime.settings.sections import Patches
from downtime.statements import Objection, PatchRefused, SqlSyntaxError, split


def a_patch(sql: str, *, lane: Lane = Lane.COLD, problems: tuple[str, ...] = ()) -> Patch:
    return Patch(id="patch-1", path="db/patch-1.sql", number=(1,), lane=lane, declared=True, sha256="0" * 64, sql=sql,
                 commit="c" * 40, problems=problems)


def refusal_of(sql: str) -> tuple[int, int, str]:
    with pytest.raises(SqlSyntaxError) as raised:
        split(sql)
    return raised.value.line, raised.value.column, raised.value.reason


def test_statement_is_the_text_of_the_file_from_its_first_word() -> None:
    """Comments above belong to nobody; those inside stay, since positions are counted in this text."""
    sql = "-- above\n\n/* here */ SELECT 1 -- inside\n , 2 ;\n;\nDROP TABLE t\n-- below\n"

    first, second = split(sql)

    assert (first.text, first.line, first.offset) == ("SELECT 1 -- inside\n , 2", 3, 21)
    assert (second.text, second.line, second.kind) == ("DROP TABLE t\n-- below", 6, "DROP TABLE")
    assert all(sql[each.offset:].startswith(each.text) for each in (first, second))


def test_characters_of_several_bytes_shift_nothing() -> None:
    """The parser counts bytes; offsets and columns are characters."""
    sql = "-- Größe €\nSELECT '€', '\U0001f418'; SELECT 2;"

    _, second = split(sql)

    assert (second.line, sql[second.offset:]) == (2, "SELECT 2;")
    assert refusal_of("SELECT '€';\nSELECT 'äöü' € SELECT")[:2] == (2, 16)


@pytest.mark.parametrize("sql", [
    "SELECT ';', $$;$$, $x$;$$;$x$, \"a;b\" -- ;\n /* ; /* ; */ */",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)",
    "SELECT E'\\';', 1 AS begin",
])
def test_semicolon_inside_a_statement_does_not_end_it(sql: str) -> None:
    """Where tools that split by hand go wrong."""

    assert [each.text for each in split(sql + ";")] == [sql.rstrip()]


@pytest.mark.parametrize("sql", ["", "-- nothing", " ; ;; "])
def test_text_without_statements_has_none(sql: str) -> None:
    """No statement is not an error here; the inventory says that the file is empty."""

    assert split(sql) == ()


@pytest.mark.parametrize(("sql", "line", "column", "reason"), [
    ("SELECT 1;\n SELEC 2;", 2, 2, 'syntax error at or near "SELEC"'),
    ("\n" * 499 + "DROP TABEL t", 500, 6, 'syntax error at or near "TABEL"'),
    ("SELECT (", 1, 9, "syntax error at end of input"),
    ("SELECT 1;\nSELECT 'abc", 2, 8, "unterminated quoted string at or near \"'abc\""),
    ("SELECT 1;\nDO $x$ BEGIN", 2, 4, 'unterminated dollar-quoted string at or near "$x$ BEGIN"'),
    ("SELECT 1;\n/* abc", 2, 1, 'unterminated /* comment at or near "/* abc"'),
    ("SELECT 1;\nSELECT\0 2", 2, 7, "there is a NUL character"),
])
def test_refusal_names_line_and_column(sql: str, line: int, column: int, reason: str) -> None:
    """Counted from 1, as editors do."""

    assert refusal_of(sql) == (line, column, reason)


def test_refusal_does_not_repeat_the_rest_of_the_file() -> None:
    """The parser quotes everything from an unfinished quote on."""
    _, _, reason = refusal_of("SELECT '" + "word\n" * 10_000)

    assert len(reason) < 130
    assert "\n" not in reason


@pytest.mark.parametrize(("sql", "line", "command"), [
    ("SELECT 1;\n\\i other.sql", 2, "\\i"),
    ("\\set ON_ERROR_STOP on\nSELECT 1;", 1, "\\set"),
    ("SELECT '\\i';\n\n\\connect app", 3, "\\connect"),
    ("SELECT 1 \\gexec", 1, "\\gexec"),
])
def test_psql_meta_command_is_refused_by_name(sql: str, line: int, command: str) -> None:
    """A patch that was tried with psql may have one; a bare syntax error would puzzle its author."""
    found_line, _, reason = refusal_of(sql)

    assert found_line == line
    assert reason == f"psql meta-command {command}: patches are sent to the server, not to psql"


@pytest.mark.parametrize("variable", [":name", ":'name'", ':"name"'])
def test_psql_variable_is_refused_by_name(variable: str) -> None:
    """The same for what psql would have put in."""

    assert refusal_of(f"SELECT {variable}")[2] == (
        f"psql variable {variable}: patches are sent to the server, not to psql")


@pytest.mark.parametrize("sql", [
    "SELECT '\n\\i x\n'", "SELECT $$\n\\set\n$$", "/*\n\\i x\n*/ SELECT 1", "SELECT a::int"])
def test_backslashes_and_colons_elsewhere_are_no_matter(sql: str) -> None:
    """Strings and comments may hold what they like."""

    assert len(split(sql)) == 1


@pytest.mark.parametrize("data", ["1\tx\n\\.\n", "it's\tx\n\\.\n", "\\.\n", "\\N\n\\.\n"])
def test_copy_with_its_data_is_refused_at_its_own_line(data: str) -> None:
    """And not at the first piece of data that looks odd as SQL."""
    line, _, reason = refusal_of("SELECT 1;\nCOPY t FROM STDIN;\n" + data)

    assert (line, reason.partition(" is ")[0]) == (2, "COPY FROM STDIN with its data in the file")


@pytest.mark.parametrize("sql", [
    "SELECT " + " || ".join(["'x'"] * 2000),
    "SELECT 1" + " UNION ALL SELECT 1" * 2000,
    "SELECT " + "(" * 1000 + "1" + ")" * 1000,
])
def test_deep_statements_are_read(sql: str) -> None:
    """protobuf gives up at 100 levels, which fifty concatenations reach: a patch full of them is legal."""
    last = split(f"{sql};\nVACUUM")[-1]

    assert (last.kind, last.line) == ("VACUUM", 2)


def test_deep_statement_is_still_recognised() -> None:
    """What makes it unfit for a transaction stands in its outermost level."""
    (statement,) = split("CREATE INDEX CONCURRENTLY i ON t (a) WHERE a = " + " || ".join(["'x'"] * 500))

    assert (statement.kind, statement.transactional) == ("CREATE INDEX CONCURRENTLY", False)


@pytest.mark.parametrize("sql", [
    "SELECT " + "+".join(["1"] * 100_000),
    "SELECT 1" + " UNION SELECT 1, 2" * 100_000,
    "SELECT 1" + " IS NULL" * 100_000,
    "SELECT " + "(" * 50 + "1" + ("+1" * 5000 + ")") * 50,
    "SELECT f(1, " + "+".join(["1"] * 15_000) + ")",
])
def test_bottomless_statement_is_refused_before_it_is_parsed(sql: str) -> None:
    """Went wrong: the parser's recursion ended the C stack, and with it the process of whoever looked at the patch."""

    assert refusal_of(sql)[2] == parsing.TOO_DEEP


def test_deepest_chain_allowed_is_survived_on_a_thread() -> None:
    """The limit leaves room on the smaller stacks, too."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(len(split("SELECT a" + " ISNULL" * 19_990))))
    thread.start()
    thread.join()

    assert found == [1]


def test_long_lists_are_not_deep() -> None:
    """Ten thousand rows in one INSERT are flat, and data patches have them."""
    rows = ", ".join(["(1, -1, 'x', (2 + 3))"] * 10_000)

    assert [each.kind for each in split(f"INSERT INTO t VALUES {rows}")] == ["INSERT"]


@pytest.mark.parametrize("sql", [
    "BEGIN", "START TRANSACTION", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT a", "RELEASE a", "ROLLBACK TO a",
    "PREPARE TRANSACTION 'a'", "COMMIT PREPARED 'a'", "ROLLBACK PREPARED 'a'", "COMMIT AND CHAIN",
])
@pytest.mark.parametrize("lane", Lane)
def test_transaction_control_is_refused_in_every_lane(sql: str, lane: Lane) -> None:
    """A COMMIT inside a patch would defeat its rollback."""
    ((line, reason),) = [(each.line, each.reason) for each in statements.objections(split(f"SELECT 1;\n{sql};"), lane)]

    assert line == 2
    assert reason.endswith("its transaction is begun and ended by the deployment; remove the statement")


@pytest.mark.parametrize("sql", [
    "DO $$ BEGIN COMMIT; END $$", "SELECT 'COMMIT'", "PREPARE a AS SELECT 1", "SELECT 1 AS begin"])
def test_words_of_transaction_control_elsewhere_are_no_matter(sql: str) -> None:
    """Only statements count."""

    assert statements.objections(split(sql), Lane.COLD) == ()


def test_statement_that_runs_alone_is_refused_in_a_cold_patch_only() -> None:
    """The line and the way out are named."""
    found = split("SELECT 1;\n\nCREATE INDEX CONCURRENTLY i ON t (a);")

    assert statements.objections(found, Lane.LIVE) == ()
    assert statements.objections(found, Lane.COLD) == (Objection(line=3, reason=(
        "CREATE INDEX CONCURRENTLY cannot run inside a transaction, as a cold patch does; split the file before "
        "line 3 and declare the second part `-- apply: live`")),)


@pytest.mark.parametrize(("sql", "refused"), [
    ("COPY t FROM STDIN", True), ("COPY t TO STDOUT", True), ("COPY (SELECT 1) TO STDOUT", True),
    ("COPY t FROM '/srv/file'", False), ("COPY t TO PROGRAM 'cat'", False),
])
def test_copy_through_the_client_is_refused(sql: str, refused: bool) -> None:
    """There is no client with the data."""

    assert bool(statements.objections(split(sql), Lane.LIVE)) is refused


def test_a_setting_of_the_transaction_is_refused_in_a_live_patch() -> None:
    """It ended with the statement itself, and the next one ran without; line and way out are named."""
    patch = a_patch("CREATE TABLE a ();\nSET LOCAL search_path = reporting;", lane=Lane.LIVE)
    with pytest.raises(statements.PatchRefused) as caught:
        statements.examine(patch)

    assert f"{patch.path}, line 2: SET LOCAL ends with the transaction" in str(caught.value)
    assert "write SET" in str(caught.value)
    assert statements.objections(split("SET LOCAL work_mem = '8MB'"), Lane.COLD) == ()
    assert statements.objections(split("SET search_path = reporting"), Lane.LIVE) == ()


def test_examine_returns_the_statements_of_a_good_patch() -> None:
    """They are what will run."""

    assert statements.examine(a_patch("SELECT 1;\nSELECT 2;")) == split("SELECT 1;\nSELECT 2;")


def test_examine_names_everything_that_is_wrong_with_its_place() -> None:
    """Problems of the inventory and of all statements, in one refusal."""
    with pytest.raises(PatchRefused) as raised:
        statements.examine(a_patch("BEGIN;\nVACUUM;", problems=("db/patch-1.sql has a twin.",)))

    assert [each.partition(" in a ")[0] for each in raised.value.objections] == [
        "db/patch-1.sql has a twin.", "db/patch-1.sql, line 1: BEGIN",
        "db/patch-1.sql, line 2: VACUUM cannot run inside a transaction, as a cold patch does; declare the file "
        "`-- apply: live`."]
    assert str(raised.value).startswith("patch-1 may not run:\n  db/patch-1.sql has a twin.\n")


def test_examine_names_the_line_of_a_syntax_error() -> None:
    """In the words of `file, line, column`."""
    with pytest.raises(PatchRefused) as raised:
        statements.examine(a_patch("SELECT 1;\nSELEC 2;"))

    assert raised.value.objections == ('db/patch-1.sql, line 2, column 1: syntax error at or near "SELEC".',)


def test_unreadable_patch_is_refused_once() -> None:
    """Its empty text is not parsed and blamed again."""
    rules = Patches(directory=".", pattern="*.sql")
    (patch,) = patches.inventory({"1.sql": b"\xff"}, rules, not_schema=(), commit="c" * 40).patches

    with pytest.raises(PatchRefused) as raised:
        statements.examine(patch)

    assert raised.value.objections == patch.problems


def test_comments_do_not_make_a_statement_deep() -> None:
    """A long history above a statement is no expression."""

    assert len(split("-- another line\n" * 30_000 + "SELECT 1;")) == 1


def test_dump_of_many_rows_is_told_that_copy_is_psqls_own() -> None:
    """And not that an expression is too deep: nobody would find it."""
    line, _, reason = refusal_of("SELECT 1;\nCOPY t FROM STDIN;\n" + "1\t2\n" * 30_000 + "\\.\n")

    assert line == 2
    assert reason.startswith("COPY FROM STDIN with its data")


def test_more_statements_than_memory_should_hold_are_refused() -> None:
    """At the first one too many."""

    assert refusal_of("SELECT;\n" * (parsing.MOST_STATEMENTS + 2)) == (
        parsing.MOST_STATEMENTS + 1, 1, parsing.TOO_MANY)


@pytest.mark.parametrize(("sql", "instead"), [
    ("VACUUM FULL t", "CLUSTER the table by one of its indexes in a cold patch"), ("VACUUM (FULL on) t", "CLUSTER"),
    ("CLUSTER", "one `CLUSTER table USING index` for each"), ("REINDEX SCHEMA public", "write CONCURRENTLY, or one"),
    ("REINDEX SYSTEM d", "by hand")])
@pytest.mark.parametrize("lane", Lane)
def test_statement_that_fits_no_lane_is_told_what_to_write_instead(sql: str, instead: str, lane: Lane) -> None:
    """It can neither run in a transaction nor beside clients; neither lane may send its author to the other."""
    (objection,) = statements.objections(split(sql), lane)

    assert "locks clients out of a table" in objection.reason
    assert instead in objection.reason


@pytest.mark.parametrize("sql", ["CLUSTER t USING i", "REINDEX TABLE t", "REINDEX INDEX i"])
def test_statement_that_locks_clients_out_is_for_a_downtime(sql: str) -> None:
    """Short lock timeouts bound the wait for the lock, not how long it is held."""

    assert statements.objections(split(sql), Lane.COLD) == ()
    assert "locks clients out" in statements.objections(split(sql), Lane.LIVE)[0].reason


@pytest.mark.parametrize("sql", ["VACUUM t", "VACUUM (FULL false) t", "REINDEX INDEX CONCURRENTLY i", "ANALYZE t",
                                 "REINDEX (CONCURRENTLY) SCHEMA public"])
def test_statement_that_lets_clients_work_may_be_live(sql: str) -> None:
    """What the live lane is for."""

    assert statements.objections(split(sql), Lane.LIVE) == ()


@pytest.mark.parametrize(("sql", "may"), [
    ("SET work_mem = '1MB'", True), ("RESET ALL", True), ("DISCARD TEMP", True), ("SELECT f()", True),
    ("DO 'BEGIN END'", True), ("CALL p()", True), ("EXECUTE q", True), ("EXPLAIN ANALYZE SELECT f()", True),
    ("INSERT INTO t SELECT SET_CONFIG('a.b', 'c', false)", True),
    ("ALTER TABLE t ADD COLUMN c int", False), ("CREATE INDEX i ON t (c)", False), ("INSERT INTO t VALUES (1)", False),
    ("UPDATE t SET c = 1", False), ("DROP TABLE t", False), ("GRANT SELECT ON t TO app", False)])
def test_statement_that_may_change_settings_is_known(sql: str, may: bool) -> None:
    """Only those cost the round trip that puts ours back; a trivial patch does not pay."""

    assert [each.may_change_settings for each in split(sql)] == [may]
