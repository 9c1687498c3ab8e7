"""Patches are linted by their lane and their server, and what was found is bounded, waived or refuses."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

import pytest
from twisted.internet import reactor

from downtime import landing, lint, statements
from downtime.findings import Finding
from downtime.landing import Accepted, NotDatabase, Rejected, RejectionKind
from downtime.lanes import Lane
from downtime.patches import Patch
from downtime.settings.sections import Lint
from tests.builders import a_patch

COLUMN = "ALTER TABLE a DROP COLUMN x;"

# what landed in real repositories looks like: a table, its index, a column, a constraint, a function, data
REAL_LOOKING = """-- customers get a note that support can search
-- apply: cold
CREATE TABLE customer_note_{0} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer (id),
    written_at timestamptz NOT NULL DEFAULT now(),
    body text NOT NULL CHECK (length(body) < 10000)
);
CREATE INDEX customer_note_{0}_customer_id ON customer_note_{0} (customer_id);
ALTER TABLE customer ADD COLUMN notes_{0} integer NOT NULL DEFAULT 0;
ALTER TABLE customer ADD CONSTRAINT notes_{0}_positive CHECK (notes_{0} >= 0) NOT VALID;
ALTER TABLE customer VALIDATE CONSTRAINT notes_{0}_positive;
CREATE OR REPLACE FUNCTION count_notes_{0}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE customer SET notes_{0} = notes_{0} + 1 WHERE id = NEW.customer_id;
    RETURN NEW;
END $$;
CREATE TRIGGER count_notes_{0} AFTER INSERT ON customer_note_{0} FOR EACH ROW EXECUTE FUNCTION count_notes_{0}();
COMMENT ON TABLE customer_note_{0} IS 'what support wrote about a customer';
GRANT SELECT, INSERT ON customer_note_{0} TO app;
UPDATE customer SET notes_{0} = (SELECT count(*) FROM customer_note_{0} n WHERE n.customer_id = customer.id);
ALTER TABLE customer DROP COLUMN remark_{0};
"""


FUTURE = "SELECT 1\n  -- a form of tomorrow\n  + 2"
DEADLY = "the end of squawk"

# squawk, but for a text it cannot read and one it dies of; the real one has neither that PostgreSQL 18 would accept
STUMBLING = """#!/bin/sh
if grep -q '{deadly}' *.sql; then echo panicked >&2; exit 101; fi
if grep -q 'a form of tomorrow' *.sql; then
    at='"file": "0.sql", "line": 3, "rule_name": "syntax-error", "help": null'
    echo "[{{$at, \\"message\\": \\"expected an expression\\"}}, {{$at, \\"message\\": \\"and so on\\"}}]"
    exit 1
fi
exec {squawk} "$@"
"""


@pytest.fixture
def squawk_that_stumbles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "squawk"
    program.touch(mode=0o755)
    program.write_text(STUMBLING.format(squawk=Path(sys.executable).with_name("squawk"), deadly=DEADLY))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))


async def linted(*patches: Patch, server_version: int | None = 150020, block: Sequence[str] = (),
                 off: Sequence[str] = ()) -> Mapping[str, tuple[Finding, ...]]:
    return await lint.lint(patches, server_version=server_version, rules=Lint(block=tuple(block), off=tuple(off)),
                           reactor=reactor)


async def of(sql: str, *, lane: Lane = Lane.COLD, block: Sequence[str] = (), off: Sequence[str] = ()
             ) -> tuple[Finding, ...]:
    return (await linted(a_patch(sql=sql, lane=lane), block=block, off=off))["patch-1"]


def rules(findings: Sequence[Finding]) -> list[tuple[int, str]]:
    return [(finding.line, finding.rule) for finding in findings]


async def test_a_finding_refuses_only_where_the_settings_name_its_rule() -> None:
    """All others are told."""

    sql = f"{COLUMN}\nDROP TABLE b;"
    found = await of(sql, block=["ban-drop-table"])
    assert rules(found) == [(1, "ban-drop-column"), (2, "ban-drop-table")]
    assert [finding.refuses for finding in found] == [False, True]
    assert rules(await of(sql, off=["ban-drop-column"])) == [(2, "ban-drop-table")]


async def test_a_reason_in_the_patch_lifts_a_refusal() -> None:
    """It stays to be read."""

    (found,) = await of(f"-- waive ban-drop-column: nobody reads it\n{COLUMN}", block=["ban-drop-column"])
    assert (found.rule, found.waived, found.refuses) == ("ban-drop-column", "nobody reads it", False)


async def test_squawks_own_comments_hide_nothing() -> None:
    """They give no reason."""

    found = await of(f"-- squawk-ignore-file\n{COLUMN} -- squawk-ignore ban-drop-column", block=["ban-drop-column"])
    assert rules(found) == [(1, "waiver"), (2, "ban-drop-column"), (2, "waiver")]
    assert [finding.refuses for finding in found] == [False, True, False]


@pytest.mark.parametrize(("lane", "expected"), [
    (Lane.LIVE, [(1, "require-concurrent-index-creation"), (2, "ban-drop-column")]),
    (Lane.COLD, [(2, "ban-drop-column")]),
])
async def test_what_a_cold_patch_cannot_do_is_not_asked_of_it(lane: Lane, expected: list[tuple[int, str]]) -> None:
    """CONCURRENTLY cannot run in its transaction, and it blocks no clients; not even where the rule is to block."""

    sql = f"CREATE INDEX i ON a (x);\n{COLUMN}"
    assert rules(await of(sql, lane=lane, block=["require-concurrent-index-creation"])) == expected


async def test_style_is_nobodys_business_until_the_settings_say_so() -> None:
    """A rule that is to refuse patches is looked for, also one that squawk leaves out until it is asked."""

    sql = "CREATE TABLE t (id int, n varchar(3));\nALTER TABLE a ADD COLUMN b bigint;"
    assert await of(sql) == ()
    assert rules(await of(sql, block=["prefer-text-field", "ban-add-column"])) == [
        (1, "prefer-text-field"), (2, "ban-add-column")]


async def test_patches_of_both_lanes_and_of_no_text_are_linted_together() -> None:
    """Each has findings of its own, and a file that is no text has none."""

    found = await linted(a_patch(sql=COLUMN, patch_id="patch-1"), a_patch(sql="", patch_id="patch-2"),
                         a_patch(sql=f"\n{COLUMN}", patch_id="patch-3", lane=Lane.LIVE), server_version=None)
    assert {name: rules(each) for name, each in found.items()} == {
        "patch-1": [(1, "ban-drop-column")], "patch-2": [], "patch-3": [(2, "ban-drop-column")]}


async def test_syntax_that_only_postgresql_knows_is_told_and_the_rest_is_linted(
        squawk_that_stumbles: None) -> None:
    """It never refuses a patch, and hides nothing of what stands around it."""

    found = await of(f"{COLUMN}\n{FUTURE};\nDROP TABLE b;", block=["ban-drop-table"])
    assert rules(found) == [(1, "ban-drop-column"), (2, "syntax-error"), (5, "ban-drop-table")]
    assert [finding.refuses for finding in found] == [False, False, True]
    assert found[1].message == ("squawk cannot read this SELECT, which PostgreSQL's parser can; it was not linted "
                                "(expected an expression).")


async def test_an_expression_without_an_end_is_not_shown_to_squawk(squawk_that_stumbles: None) -> None:
    """It would read until its deadline, for which everybody who has landed something waits.

    The parser refuses the patch; whoever landed it reads that.
    """

    endless = f"SELECT '{DEADLY}' || {'1 || ' * 20_000} 1;"
    found = await linted(a_patch(sql=endless, patch_id="patch-1"), a_patch(sql=COLUMN, patch_id="patch-2"))

    assert {name: rules(each) for name, each in found.items()} == {
        "patch-1": [], "patch-2": [(1, "ban-drop-column")]}


async def test_a_text_that_ends_squawk_takes_no_others_with_it(squawk_that_stumbles: None) -> None:
    """Nobody knows what it would have found: the patch is refused where any rule refuses, unless a reason is given."""

    reason = "-- waive not-linted: read by two people\n"
    patches = [a_patch(sql=sql, patch_id=f"patch-{number}") for number, sql in enumerate(
        (COLUMN, f"SELECT '{DEADLY}';", f"{reason}SELECT '{DEADLY}';", COLUMN))]
    told, found = await linted(*patches), await linted(*patches, block=["ban-drop-table"])

    assert {name: rules(each) for name, each in found.items()} == {
        "patch-0": [(1, "ban-drop-column")], "patch-1": [(1, "not-linted")], "patch-2": [(1, "not-linted")],
        "patch-3": [(1, "ban-drop-column")]}
    assert [each[0].refuses for each in found.values()] == [False, True, False, False]
    assert not any(each[0].refuses for each in told.values())
    assert found["patch-1"][0].message == (
        "The patch was not linted: squawk gave no answer: exit status 101: panicked.")


async def test_what_is_no_sql_has_no_findings() -> None:
    """PostgreSQL's own parser says where, and nobody reads it twice."""

    assert await of("ALTER TABEL a;", block=["ban-drop-table"]) == ()


async def test_a_refusal_is_never_lost_among_very_many_findings() -> None:
    """A patch of 50,000 statements is linted, and what is kept of it is bounded."""

    sql = f"{COLUMN}\n" * 50_000 + "DROP TABLE b;\n"
    began = monotonic()
    found = await of(sql, block=["ban-drop-table"])

    print(f"50,001 statements linted in {monotonic() - began:.3f} s")
    assert [finding.line for finding in found if finding.refuses] == [50_001]
    assert len(found) == 102
    assert (found[-1].rule, found[-1].message) == ("more", "… and 49,900 more findings.")


async def test_five_hundred_patches_are_linted_and_judged_in_a_moment() -> None:
    """The figure to reach is 3 s for parsing and judging them all."""

    patches = [a_patch(sql=REAL_LOOKING.format(number), patch_id=f"patch-{number}") for number in range(500)]
    began = monotonic()
    for patch in patches:
        statements.examine(patch)
    examined = monotonic()
    found = await linted(*patches)
    seconds = monotonic() - began

    print(f"500 patches: examined in {examined - began:.3f} s, linted in {monotonic() - examined:.3f} s")
    assert {name: rules(each) for name, each in found.items()} == {
        patch.id: [(12, "constraint-missing-not-valid"), (22, "ban-drop-column")] for patch in patches}
    assert seconds < 15


# -- what becomes of a landing ----------------------------------------------------------------------------------------

PATCH = a_patch(sql=COLUMN)
REFUSING = Finding(line=1, rule="ban-drop-column", message="It may break clients.", advice="Wait.", blocks=True)
TOLD = Finding(line=1, rule="ban-drop-table", message="So may this.", advice="", blocks=False)
WAIVED = Finding(line=2, rule="ban-drop-column", message="It may break clients.", advice="", blocks=True, waived="gone")


def test_a_refusing_finding_rejects_the_landing() -> None:
    """With file, line, rule and what to do."""

    accepted = Accepted(patches=(PATCH,), lane=Lane.COLD)
    judged = landing.with_lint(accepted, {"patch-1": [TOLD, REFUSING, WAIVED]})
    assert isinstance(judged, Rejected)
    assert [(reason.kind, reason.files) for reason in judged.reasons] == [(RejectionKind.LINT, ("db/patch-1.sql",))]
    assert judged.reasons[0].text == (
        "db/patch-1.sql is refused by the linter (ban-drop-column in line 1); correct it, or give a reason in it: "
        "`-- waive ban-drop-column: reason`.")
    assert landing.with_lint(accepted, {"patch-1": [TOLD, WAIVED]}) == accepted
    assert landing.with_lint(NotDatabase(), {"patch-1": [REFUSING]}) == NotDatabase()


def test_findings_are_told_as_compilers_tell_theirs() -> None:
    """File, line, rule; and what became of it."""

    assert lint.lines("db/patch-1.sql", [REFUSING, TOLD, WAIVED]) == (
        "db/patch-1.sql:1: ban-drop-column: It may break clients; Wait. [refuses the patch]",
        "db/patch-1.sql:1: ban-drop-table: So may this.",
        "db/patch-1.sql:2: ban-drop-column: It may break clients. [waived: gone]")
    assert lint.sentences("db/patch-1.sql", [REFUSING, TOLD, WAIVED]) == (
        "db/patch-1.sql, line 1: the linter's rule ban-drop-column refuses it (It may break clients); correct it, or "
        "give a reason above it: `-- waive ban-drop-column: reason`.",)
