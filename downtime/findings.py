"""What the linter found in a patch, and what its author says to it: values. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing the linter objects to."""

    line: int         # of the file, from 1
    rule: str         # squawk's name for it
    message: str      # squawk's words, in one line
    advice: str       # what it says to do instead; may be empty
    blocks: bool      # the settings say that this rule refuses a patch
    waived: str = ""  # the reason the patch gives in a line `-- waive RULE: reason`

    @property
    def refuses(self) -> bool:
        return self.blocks and not self.waived

    @property
    def said(self) -> str:
        """What is wrong and, where that is known, what to do instead."""
        return f"{self.message.rstrip('.')}; {self.advice}" if self.advice else self.message
