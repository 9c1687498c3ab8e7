"""The parser of the command line."""

from __future__ import annotations

import shlex

import pytest

from downtime.commands import COMMANDS
from downtime.commands.arguments import PROGRAM, parser


@pytest.mark.parametrize("words", ["--environment staging --json plan", "plan --environment staging --json",
                                   "--environment staging plan --json"])
def test_shared_options_stand_before_or_behind_the_command(words: str) -> None:
    """Nobody has to remember where they belong."""
    arguments = parser(COMMANDS).parse_args(words.split())

    assert (arguments.command, arguments.environment, arguments.json) == ("plan", "staging", True)


def test_shared_options_have_their_defaults_when_left_out() -> None:
    """A command decides about its own environment where none is named."""
    arguments = parser(COMMANDS).parse_args(["status"])

    assert (arguments.settings, arguments.environment, arguments.json) == (None, None, False)


@pytest.mark.parametrize("words", ["", "deploy", "plan --environment prod", "check", "apply", "require p --wait soon",
                                   "require p --wait -1", "probe --seconds inf", "plan --env staging"])
def test_wrong_usage_exits_with_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As promised in the exit statuses; the message shows the usage."""
    with pytest.raises(SystemExit) as caught:
        parser(COMMANDS).parse_args(words.split())

    assert caught.value.code == 2
    assert "usage: python -m downtime" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_works_and_the_exit_statuses(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of every command's help is one that the parser accepts."""
    example = COMMANDS[name].EXAMPLE
    with pytest.raises(SystemExit) as caught:
        parser(COMMANDS).parse_args([name, "--help"])
    text = capsys.readouterr().out

    assert caught.value.code == 0
    assert f"{PROGRAM} {example}" in text
    assert "4  the state needs an operator" in text
    assert parser(COMMANDS).parse_args(shlex.split(example.partition("|")[0])).command == name
