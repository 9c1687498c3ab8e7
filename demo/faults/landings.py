"""Hostile patches on their real way: landed by git push, judged and rehearsed by the buildmaster, deployed.

One is landed at a time, and what was refused or has failed is taken away again with the next landing, so that it holds
nothing back. Behind each one that survives lands an innocent patch, which looks around in its own session.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demo import application, web
from demo.faults.circumstances import change_settings
from demo.faults.patches import Fate, HostilePatch
from demo.faults.people import ANSWER_SECONDS
from demo.faults.rows import Finding
from demo.faults.sample import LIVE_PATCH
from demo.faults.world import World
from demo.sandbox import DATABASE, ENVIRONMENTS, SCHEMA, SandboxError
from demo.web import Build
from downtime.lanes import Lane
from downtime.settings.sections import Live
from steps.shared.names import BuilderName, Property

LIMIT_SECONDS = 120      # of an outage: 50,000 statements take their time on a busy machine
VERDICT_SECONDS = 150.0
DEPLOYED_SECONDS = 150.0
ROWS_KEPT = 3            # latest builds of a builder among which one is looked for: each look costs the master

# Fails where another patch has left something in its session, or of the settings that keep a deployment safe.
INNOCENT = """\
-- apply: {lane}
-- Looks around.
DO $$
BEGIN
    ASSERT current_user = '{patcher}' AND session_user = '{patcher}', 'another role';
    ASSERT current_setting('search_path') = '"$user", public', 'another search_path';
    ASSERT current_setting('standard_conforming_strings') = 'on', 'literals are read in another way';
    ASSERT current_setting('transaction_read_only') = 'off', 'read-only';
    ASSERT current_setting('statement_timeout') = '{timeout}', 'another statement_timeout';
    ASSERT current_setting('lock_timeout')::interval BETWEEN '1ms' AND '1min', 'another lock_timeout';
    ASSERT to_regclass('pg_temp.ledger') IS NULL AND to_regtype('pg_temp.timestamptz') IS NULL, 'temporary tables';
END
$$;
"""
TIMEOUT = {Lane.COLD: f"{LIMIT_SECONDS // 60}min", Lane.LIVE: f"{Live().concurrently_hours:g}h"}
# what hostile patches make for others, taken away so that each finds the database as the first one did
CLEAN_UP = f"""
DROP SCHEMA IF EXISTS hostile CASCADE;
DROP ROUTINE IF EXISTS hostile;
DELETE FROM upload WHERE path LIKE 'path %';
ALTER ROLE {application.PATCHER} IN DATABASE {DATABASE} RESET ALL;
"""
UNPRINTABLE = {*map(chr, range(32)), *map(chr, range(0x7f, 0xa0)), "\u202e", "\u2028"} - {"\n", "\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A patch on the branch, and the build of `staging` that has judged it."""

    patch_id: str
    path: str
    build: Build


class Landings:
    """A world's branch, on which hostile patches land one after the other."""

    def __init__(self, world: World) -> None:
        """Raises SandboxError."""
        self.world = world
        self._number = 0
        self._taken_away: dict[str, None] = {}  # with the next landing
        # nothing is cut here, and through the proxy 50,000 statements take a minute
        change_settings(world, outage_limit_seconds=LIMIT_SECONDS,
                        database=world.sandbox.target(application.PATCHER).dsn)
        # the world's own patches are not what this is about
        done = world.sandbox.downtime("baseline", LIVE_PATCH, "--environment", "production", "--yes")
        if done.returncode != 0:
            raise SandboxError(f"python -m downtime baseline failed:\n{done.stderr}{done.stdout}")

    def played(self, patch: HostilePatch) -> Finding:
        """Land it, and see whether its fate is the one that it should be."""
        finding = Finding()
        if patch.fate is Fate.SURVIVES:
            innocent = INNOCENT.format(lane=patch.lane, patcher=application.PATCHER, timeout=TIMEOUT[patch.lane])
            self._survives(finding, self.land(patch.content, innocent.encode()), patch)
        else:
            (landed,) = self.land(patch.content)
            self._is_turned_away(finding, landed, patch.verdict(landed.path))
        for name in ENVIRONMENTS:
            self.world.sandbox.servers[name].admin_sql(CLEAN_UP, database=DATABASE)
        return finding

    def land(self, *contents: bytes) -> list[Landed]:
        """Push files with the next numbers, and see what staging says of them."""
        self._number += 1
        return self.push({f"patch-24{self._number:02}-0{place}-0": content
                          for place, content in enumerate(contents, start=1)})

    def push(self, patches: Mapping[str, bytes]) -> list[Landed]:
        """Push files, by the ids of the patches, and see what staging says of them."""
        paths = {patch_id: f"{SCHEMA}/{patch_id}.sql" for patch_id in patches}
        files = {paths[patch_id]: content for patch_id, content in patches.items()}
        commit = self.world.sandbox.repository.land({**self._taken_away, **files}, f"{', '.join(patches)}: hostile")
        self._taken_away = {}
        build = self._verdict(commit)
        return [Landed(patch_id=patch_id, path=path, build=build) for patch_id, path in paths.items()]

    def take_away(self, *landed: Landed) -> None:
        """With the next landing, unless staging has it: what is applied may not be taken away."""
        self._taken_away = {each.path: None for each in landed if not self.ledger("staging", each.patch_id)}

    def deploy(self, patch_id: str, lane: Lane) -> Build:
        """Approve what was offered to production, and see it end."""
        builder = BuilderName.PRODUCTION if lane is Lane.COLD else BuilderName.LIVE
        build = self.world.awaits_approval(self._offered(patch_id, builder))
        self.world.approve(build, by="architect", reason="it survives")
        return self.world.as_("operator").ended(build, DEPLOYED_SECONDS)

    def ledger(self, environment: str, patch_id: str) -> list[tuple[Any, ...]]:
        """The rows of a patch: its id, the lane, and who wrote them."""
        return self.world.sandbox.servers[environment].admin_sql(
            "SELECT id, lane, database_role FROM fastdowntime.ledger WHERE id = %s", (patch_id,), database=DATABASE)

    def _is_turned_away(self, finding: Finding, landed: Landed, says: str) -> None:
        story = self.world.story_of(landed.build)
        finding.said = _line_with(says, story)
        finding.expect(landed.build.outcome == "failure", f"it should be turned away:\n{story}")
        finding.expect(says in story, f"nobody reads {says!r}:\n{story}")
        finding.expect(landed.path in story, f"nobody reads which file it is:\n{story}")
        for name in ENVIRONMENTS:
            rows = self.ledger(name, landed.patch_id)
            finding.expect(rows == [], f"{name}'s ledger has of {landed.patch_id}: {rows}")
        self._expect_printable(finding, landed.build)
        self.take_away(landed)

    def _survives(self, finding: Finding, landed: Sequence[Landed], patch: HostilePatch) -> None:
        """The patch, and the innocent one behind it: rehearsed, and deployed one after the other."""
        rehearsed = landed[0].build
        self._expect_printable(finding, rehearsed)
        if not rehearsed.good:
            finding.expect(rehearsed.good, "it, or the innocent patch behind it, should be rehearsed:\n"
                                           f"{self.world.story_of(rehearsed)}")
            self.take_away(*landed)
            return
        for each in landed:
            build = self.deploy(each.patch_id, patch.lane)
            finding.said = build.state
            finding.expect(build.good, f"{each.patch_id} should be deployed:\n{self.world.story_of(build)}")
            self._expect_printable(finding, build)
            for name in ENVIRONMENTS:
                rows = self.ledger(name, each.patch_id)
                finding.expect(rows == [(each.patch_id, patch.lane.value, application.PATCHER)],
                               f"{name}'s ledger has of {each.patch_id}: {rows}")

    def _expect_printable(self, finding: Finding, build: Build) -> None:
        """No log and no answer of the API carries what a terminal or a page would obey."""
        for place, text in self._texts_of(build):
            found = UNPRINTABLE.intersection(text)
            finding.expect(not found, f"build {build.number} of {build.builder}, {place}: raw {sorted(found)!r}")

    def _texts_of(self, build: Build) -> Iterator[tuple[str, str]]:
        operator = self.world.as_("operator")
        yield "its properties", _strings(operator.get(f"builds/{build.id}", property="*"))
        yield "its changes", _strings(operator.get(f"builds/{build.id}/changes"))
        yield "its steps", _strings(operator.get(f"builds/{build.id}/steps"))
        for row in operator.get(f"builds/{build.id}/data")["build_data"]:
            yield f"its {row['name']!r}", _strings(operator.data(build, row["name"]))
        for step in operator.steps(build):
            for name, text in operator.logs(step).items():
                yield f"log {name!r} of {step.name!r}", text

    def _verdict(self, commit: str) -> Build:
        def look() -> Build | None:
            return next((build for build in self.world.as_("developer").builds(BuilderName.STAGING, limit=ROWS_KEPT)
                         if build.properties.get("revision") == commit and build.complete), None)
        return web.wait(look, VERDICT_SECONDS, f"staging to judge commit {commit[:8]}")

    def _offered(self, patch_id: str, builder: BuilderName) -> Build:
        def look() -> Build | None:
            return next((build for build in self.world.as_("operator").builds(builder, limit=ROWS_KEPT)
                         if build.properties.get(Property.PATCH) == patch_id), None)
        return web.wait(look, ANSWER_SECONDS, f"{patch_id} to be offered to {builder}")


def _strings(value: Any) -> str:
    """Every text of a JSON answer, as a program that reads it gets it."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(map(_strings, (*value, *value.values())))
    if isinstance(value, list):
        return "\n".join(map(_strings, value))
    return json.dumps(value)


def _line_with(words: str, story: str) -> str:
    return next((line.strip() for line in story.splitlines() if words and words in line), story.splitlines()[0])
