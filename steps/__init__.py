"""The runbook: one phase, one file, one Buildbot step; read from top to bottom it is what happens.

What the steps have in common is in `steps.shared`. Nothing here imports `master`.
"""

from steps.s01_judge_landing import JudgeLanding
from steps.s02_rehearse_on_staging import RehearseOnStaging
from steps.s03_admit import Admit
from steps.s04_await_approval import AwaitApproval
from steps.s05_quiesce import Quiesce
from steps.s06_preflight import Preflight
from steps.s07_prevent_connections import PreventConnections
from steps.s08_check_fragile_users import CheckFragileUsers
from steps.s09_kick_connections import KickConnections
from steps.s10_apply_patch import ApplyPatch
from steps.s11_allow_connections import AllowConnections
from steps.s12_resume import Resume
from steps.s13_record import Record
from steps.s20_apply_live import ApplyLive
from steps.s30_decide import Decide
from steps.s31_reopen import Reopen

__all__ = [  # noqa: RUF022 - in running order
    "JudgeLanding", "RehearseOnStaging",
    "Admit", "AwaitApproval", "Quiesce", "Preflight", "PreventConnections", "CheckFragileUsers", "KickConnections",
    "ApplyPatch", "AllowConnections", "Resume", "Record",
    "ApplyLive", "Decide", "Reopen",
]
