"""What an operator reads when something went wrong."""

from __future__ import annotations

from downtime import errors
from downtime.errors import ExitStatus, Left


def test_an_error_says_what_happened_how_the_database_is_and_what_to_do() -> None:
    """Three lines, in the order in which an operator asks."""
    error = errors.ConnectionsRefused(node="db:5432/app", reason="closed")

    assert error.explain().splitlines() == [
        "db:5432/app does not accept connections: closed", "The database was left untouched.",
        "Next: python -m downtime reopen --environment NAME, if a dead deployment closed it; it never opens what an"
        " administrator closed"]


def test_an_error_without_advice_has_no_line_for_it() -> None:
    """An empty "Next:" would send people looking."""

    assert "Next:" not in errors.DowntimeError(reason="odd").explain()


def test_facts_with_braces_are_text() -> None:
    """What a server or a client wrote is never taken for a template."""

    assert str(errors.DowntimeError(reason="{node} {0}")) == "{node} {0}"


def test_how_the_database_was_left_can_be_told_by_who_knows_better() -> None:
    """One error's word changes no other's."""
    changed = errors.Refused(reason="no", left=Left.REOPENED)

    assert (changed.left, errors.Refused(reason="no").left) == (Left.REOPENED, Left.UNTOUCHED)


def test_exit_statuses_are_those_of_the_documentation() -> None:
    """Scripts rely on them."""

    assert (errors.Refused.exit_status, errors.SettingsError.exit_status, errors.Aborted.exit_status,
            errors.NeedsOperator.exit_status) == (
        ExitStatus.REFUSED, ExitStatus.USAGE, ExitStatus.FAILED, ExitStatus.NEEDS_OPERATOR)
    assert [status.value for status in ExitStatus] == [0, 1, 2, 3, 4]


def test_all_problems_of_the_settings_are_in_one_message() -> None:
    """One run shows every mistake."""
    error = errors.SettingsError("settings.yaml", ["a is wrong", "b is wrong"])

    assert str(error) == "settings.yaml: 2 problem(s)\n  a is wrong\n  b is wrong"
