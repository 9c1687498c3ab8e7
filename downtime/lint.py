"""Lint patches with squawk, and say what its findings mean here: which refuse a patch, and which the patch waives.

squawk reads the text alone and knows neither sizes nor clients: what a patch really does, its rehearsal measures. So a
finding is told, and refuses a patch only where the settings name its rule.

What squawk cannot read is no mistake of the patch: PostgreSQL's own parser decides what SQL is, and its new syntax
comes first. Such a statement is left out, told, and the rest of the patch is linted without it. A patch that squawk
gives no answer about at all is refused where any rule would refuse one: nobody knows what it would have found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from twisted.internet.threads import deferToThreadPool

from downtime import parsing, squawk, squawk_rules, statements, waivers
from downtime.findings import Finding
from downtime.lanes import Lane
from downtime.patches import Patch
from downtime.settings.sections import Lint
from downtime.squawk import SYNTAX_ERROR, Remark, SquawkFailed
from downtime.statements import SqlSyntaxError, Statement

PATIENCE_SECONDS = 60.0  # for all calls about one lane together; what squawk has not answered then is not linted
MOST_OF_A_SORT = 100     # findings of one patch that are told: of those that refuse, of the waived, of all others
MORE = "more"            # the rule of the finding that counts the rest


async def lint(patches: Sequence[Patch], *, server_version: int | None, rules: Lint, reactor: Any
               ) -> Mapping[str, tuple[Finding, ...]]:
    """The findings of each patch, by its id and by line. Raises SquawkMissing.

    `server_version` as libpq gives it (150020); None: squawk's own default. Of a patch that is no text, or no SQL to
    PostgreSQL's parser, there are none: its problems and objections say all.
    """
    found: dict[str, tuple[Finding, ...]] = {patch.id: () for patch in patches}
    for lane in Lane:
        asking = _Asking(lane=lane, server_version=server_version, rules=rules, reactor=reactor,
                         give_up_at=monotonic() + PATIENCE_SECONDS)
        of_lane = [patch for patch in patches if patch.lane is lane and patch.sql]
        if readable := await asking.in_thread(_readable, of_lane):
            found |= await _lane(readable, asking)
    return found


def sentences(path: str, findings: Iterable[Finding]) -> tuple[str, ...]:
    """What refuses a patch, in complete sentences that name file, line, rule and how to go on."""
    return tuple(
        f"{path}, line {each.line}: the linter's rule {each.rule} refuses it ({each.message.rstrip('.')}); correct it, "
        f"or give a reason above it: `-- waive {each.rule}: reason`." for each in findings if each.refuses)


def lines(path: str, findings: Iterable[Finding]) -> tuple[str, ...]:
    """Each finding as a line of a log: file, line, rule, what it is about, and what became of it."""
    return tuple(_line(path, each) for each in findings)


def _line(path: str, finding: Finding) -> str:
    became = f" [waived: {finding.waived}]" if finding.waived else " [refuses the patch]" if finding.refuses else ""
    return f"{path}:{finding.line}: {finding.rule}: {finding.said}" + became


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """How squawk is asked about the patches of one lane."""

    lane: Lane
    server_version: int | None
    rules: Lint
    reactor: Any
    give_up_at: float  # on the monotonic clock

    async def ask(self, texts: Sequence[str]) -> list[list[Remark]]:
        """As squawk.ask(), but where it fails only those texts are without an answer that are to blame."""
        try:
            return await self._ask_at_once(texts)
        except SquawkFailed as error:
            if len(texts) == 1:
                return [[Remark(line=1, rule=waivers.NOT_LINTED, message=f"The patch was not linted: {error}.",
                                advice="")]]
        half = len(texts) // 2
        return [*await self.ask(texts[:half]), *await self.ask(texts[half:])]

    async def _ask_at_once(self, texts: Sequence[str]) -> list[list[Remark]]:
        left_seconds = self.give_up_at - monotonic()
        if left_seconds <= 0:
            raise SquawkFailed(reason="no time was left for it")
        return await squawk.ask(
            texts, squawk_rules.choose(self.lane, block=self.rules.block, off=self.rules.off),
            server_version=self.server_version, in_transaction=self.lane is Lane.COLD, reactor=self.reactor,
            deadline_seconds=min(left_seconds, squawk.DEADLINE_SECONDS))

    async def in_thread(self, work: Any, *arguments: Any) -> Any:
        """For what takes the parser seconds, in which an outage may be running in this reactor."""
        return await deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work, *arguments)


def _readable(patches: Sequence[Patch]) -> list[Patch]:
    """Without those that squawk would read until its deadline: its time grows with the square of the depth."""
    return [patch for patch in patches if not parsing.is_too_deep(patch.sql)]


async def _lane(patches: Sequence[Patch], asking: _Asking) -> dict[str, tuple[Finding, ...]]:
    texts = [waivers.for_squawk(patch.sql) for patch in patches]
    answers = await asking.ask(texts)
    parsed: list[Sequence[Statement]] = await asking.in_thread(_parsed, patches, answers)
    unread = [place for place, answer in enumerate(answers) if _has_syntax_errors(answer) and parsed[place]]
    if unread:
        again = await asking.ask([_without_unread(texts[place], parsed[place], answers[place]) for place in unread])
        for place, answer in zip(unread, again, strict=True):
            answers[place] = _unread(answers[place], parsed[place]) + [
                remark for remark in answer if remark.rule != SYNTAX_ERROR]
    found: dict[str, tuple[Finding, ...]] = await asking.in_thread(_judge_all, patches, parsed, answers, asking.rules)
    return found


def _parsed(patches: Sequence[Patch], answers: Sequence[Sequence[Remark]]) -> list[Sequence[Statement]]:
    """The statements of those patches whose findings cannot be told without them; none of what is no SQL.

    Parsing takes longer than linting.
    """
    return [_split(patch.sql) if _has_syntax_errors(answer) or "waive" in patch.sql.lower() else ()
            for patch, answer in zip(patches, answers, strict=True)]


def _split(sql: str) -> Sequence[Statement]:
    try:
        return statements.split(sql)
    except SqlSyntaxError:
        return ()


def _has_syntax_errors(answer: Sequence[Remark]) -> bool:
    return any(remark.rule == SYNTAX_ERROR for remark in answer)


def _unread_statements(parsed: Sequence[Statement], answer: Sequence[Remark]) -> dict[Statement, Remark]:
    """The statements that squawk cannot read, each with the first thing it says about it."""
    found: dict[Statement, Remark] = {}
    for remark in answer:
        if remark.rule == SYNTAX_ERROR:
            begun = [each for each in parsed if each.line <= remark.line] or parsed[:1]
            found.setdefault(begun[-1], remark)
    return found


def _unread(answer: Sequence[Remark], parsed: Sequence[Statement]) -> list[Remark]:
    return [replace(remark, line=statement.line, advice="", message=(
                f"squawk cannot read this {statement.kind}, which PostgreSQL's parser can; it was not linted "
                f"({remark.message.rstrip('.')})."))
            for statement, remark in _unread_statements(parsed, answer).items()]


def _without_unread(text: str, parsed: Sequence[Statement], answer: Sequence[Remark]) -> str:
    """The text with blanks where squawk cannot read it; what is left keeps its lines."""
    parts, at = [], 0
    for statement in sorted(_unread_statements(parsed, answer), key=lambda each: each.offset):
        lines_of_it = "\n" * statement.text.count("\n")
        parts += [text[at:statement.offset], lines_of_it]
        at = statement.offset + len(statement.text)
    return "".join([*parts, text[at:]])


def _judge_all(patches: Sequence[Patch], parsed: Sequence[Sequence[Statement]], answers: Sequence[Sequence[Remark]],
               rules: Lint) -> dict[str, tuple[Finding, ...]]:
    found = {}
    for patch, its, answer in zip(patches, parsed, answers, strict=True):
        if its or not _has_syntax_errors(answer):
            found[patch.id] = _bounded(waivers.judge(patch.sql, its, [_finding(each, rules) for each in answer]))
    return found


def _finding(remark: Remark, rules: Lint) -> Finding:
    blocks = remark.rule in rules.block or (remark.rule == waivers.NOT_LINTED and bool(rules.block))
    return Finding(line=remark.line, rule=remark.rule, message=remark.message, advice=remark.advice, blocks=blocks)


def _bounded(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, of very many the first ones of each sort, so that one that refuses is never left out."""
    if len(findings) <= MOST_OF_A_SORT:
        return tuple(findings)
    sorts = ([each for each in findings if each.refuses], [each for each in findings if each.waived],
             [each for each in findings if not each.refuses and not each.waived])
    kept = sorted((each for sort in sorts for each in sort[:MOST_OF_A_SORT]), key=lambda each: each.line)
    if left_out := len(findings) - len(kept):
        kept.append(Finding(line=kept[-1].line, rule=MORE, message=f"… and {left_out:,} more findings.", advice="",
                            blocks=False))
    return tuple(kept)
