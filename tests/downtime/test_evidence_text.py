"""Evidence as an approver reads it in a log."""

from __future__ import annotations

from dataclasses import replace

from downtime import evidence_text
from downtime.evidence import Evidence
from downtime.footprints import Footprint
from tests.downtime.evidences import CREATE, EVIDENCE, LIKE, UPDATE
from tests.downtime.measurements import a_lock


def lines_of(evidence: Evidence) -> list[str]:
    return evidence_text.text(evidence).splitlines()


def test_each_statement_has_its_figures_in_one_line() -> None:
    """Line, seconds, share of the whole, WAL, the rows of the command tag, and what it is."""
    assert "      2     2.000   67 %    123 MB     1,000,000  UPDATE" in lines_of(EVIDENCE)


def test_what_a_statement_did_stands_below_it() -> None:
    """Locks with the strongest first, those that make clients wait marked; rewrites, scans, changes, sizes."""
    lines = lines_of(EVIDENCE)
    below = lines[lines.index("      2     2.000   67 %    123 MB     1,000,000  UPDATE") + 1:]

    assert below[:8] == [
        "          ! ACCESS EXCLUSIVE on index public.account_pkey of public.account",
        "            ROW EXCLUSIVE on table public.account",
        "            writes public.account anew",
        "            builds index public.account_pkey anew",
        "            reads all of public.account (1,000,000 rows)",
        "            rows of public.account: 1,000,000 updated, 2 deleted",
        "            public.account has 65 MB, its indexes 999 B, never analysed",
        "            … and 3 lesser locks, scans, changes and sizes, which the document lacks too"]
    assert "          + ACCESS EXCLUSIVE on table public.fresh" in lines


def test_a_name_of_several_lines_is_no_line_of_the_table() -> None:
    """A patch names its tables as it likes; what the approver reads is ours alone."""
    lock = a_lock(relation='public."t\n  total     0.001  within target"')
    lines = lines_of(replace(EVIDENCE, statements=(replace(UPDATE, footprint=Footprint(wal_bytes=0, locks=(lock,))),)))

    assert not [line for line in lines if line.endswith('within target"') and "ACCESS EXCLUSIVE" not in line]
    assert 'ACCESS EXCLUSIVE on table public."t\\n  total     0.001  within target"' in "\n".join(lines)


def test_of_many_locks_the_first_ones_are_shown() -> None:
    """A statement may lock thousands; what was there before the patch comes first and is counted apart."""
    locks = tuple(a_lock(relation=f"public.t{number}", existing=number % 2 == 0) for number in range(40))
    lines = lines_of(replace(EVIDENCE, statements=(replace(UPDATE, footprint=Footprint(wal_bytes=0, locks=locks)),)))

    assert [line for line in lines if "ACCESS EXCLUSIVE on table" in line][7:9] == [
        "          ! ACCESS EXCLUSIVE on table public.t14", "          + ACCESS EXCLUSIVE on table public.t1"]
    assert lines.count("            … and 12 more like these") == 2


def test_what_somebody_may_copy_stays_in_one_line() -> None:
    """The line that declares a lane, wherever it falls."""
    for length in range(90, 115):
        advice = f"{'x' * length} write `-- apply: live` into it"
        assert "`-- apply:" in evidence_text.text(replace(EVIDENCE, lane_advice=advice))


def test_it_fits_a_narrow_window() -> None:
    """110 columns, whatever sentences are in it."""
    long = replace(EVIDENCE, remarks=("A sentence of many words " * 30,), lane_obstacles=("many words " * 40,))

    assert max(map(len, lines_of(long))) <= 110


def test_the_statements_that_cost_most_are_named_with_their_remedy() -> None:
    """Slowest first; what is cheap beside it is not among them."""
    cheap = replace(CREATE, line=3, seconds=0.05)
    text = evidence_text.text(replace(EVIDENCE, statements=(CREATE, UPDATE, cheap)))

    assert "What costs most:\n  - line 2, UPDATE: 2.000 s, 67 % of the whole; change the rows in batches.\n" in text
    assert "  - line 1, CREATE TABLE: 1.000 s, 33 % of the whole.\n" in text
    assert "line 3, CREATE TABLE" not in text


def test_evidence_of_many_statements_says_what_is_not_shown() -> None:
    """Nobody may take three hundred lines for the whole."""
    text = evidence_text.text(replace(EVIDENCE, left_out=49_700, left_out_seconds=3.5))

    assert "\n            3.500  " in text
    assert "49,700 faster statements, not shown" in text


def test_all_that_speaks_for_and_against_is_there() -> None:
    """Verdict and forecast, the lane, each run, the linter's findings, waivers with their reasons, and the rest."""
    text = evidence_text.text(EVIDENCE)

    for said in ("took 3.000 s on staging, 4.500 s expected in production, within target", "needs sign-off: ä reason",
                 "Lane: Declared cold, and measured cold", "  - line 2: UPDATE, holding ACCESS EXCLUSIVE on index",
                 "  - run 1: patch 3.000 s, outage 3.100 s (apply patch 3000.0 ms); rolled back; its caches were",
                 "  - run 2: patch 2.500 s, outage 2.600 s", "1.50 times as long as staging (median of 4 patches",
                 "  - db/patch-1.sql:2: adding-field-with-default: It rewrites the table; Add it without.",
                 "  - db/patch-1.sql:1: ban-drop-table: It drops a table. Waived: nobody has used it since May",
                 "  - It was run once.", "Rehearsed on db1:5432/app, PostgreSQL 15.20, ", " UTC, commit cccccccccccc."):
        assert said in text


def test_a_staging_that_is_unlike_production_is_told_with_every_difference() -> None:
    """So that nobody takes its figures for production's; one that is like it is said to be a fair judge."""
    unlike, like = evidence_text.text(EVIDENCE), evidence_text.text(replace(EVIDENCE, likeness=LIKE))

    assert "Staging is no fair judge of this patch:\n  - Table public.account is smaller on staging." in unlike
    assert "Staging is a fair judge of this patch" in like
    assert "Of staging there is to know:\n  - Staging was copied in May." in like


def test_statements_that_were_measured_together_say_so() -> None:
    """Of a patch with very many statements the later ones are; the first of a group has no WAL of its own."""
    part = replace(UPDATE, footprint=Footprint(wal_bytes=0, statements=0))
    whole = replace(UPDATE, line=3, footprint=Footprint(wal_bytes=7, statements=2))
    lines = lines_of(replace(EVIDENCE, statements=(part, whole)))

    assert "      2     2.000   67 %               1,000,000  UPDATE" in lines
    assert "            (measured with a later one)" in lines
    assert "            (measured together with the 1 before it)" in lines


def test_figures_from_a_ledger_do_not_pass_for_a_measurement() -> None:
    """No statement, no run, no lock: it says so where the table would be."""
    text = evidence_text.text(replace(EVIDENCE, statements=(), runs=(), lane_obstacles=(), findings=(), likeness=None))

    assert "what each statement took is not known" in text
    assert "run once:" not in text


def test_bytes_are_told_as_people_read_them() -> None:
    """Two or three digits and the unit."""
    assert [evidence_text.size(count) for count in (0, 999, 1000, 9_940, 65_000_000, 3 * 10**12, 10**16)] == [
        "0 B", "999 B", "1.0 kB", "9.9 kB", "65 MB", "3.0 TB", "10000 TB"]
