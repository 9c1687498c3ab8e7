"""The runbook: one phase, one file, one Buildbot step; read from top to bottom it is what happens.

What the steps have in common is in `steps.shared`. Nothing here imports `master`.
"""

from steps.s01_judge_landing import JudgeLanding
from steps.s02_rehearse_on_staging import RehearseOnStaging
from steps.s03_admit import Admit
from steps.s04_await_approval import AwaitApproval
from steps.s05_await_turn import AwaitTurn
from steps.s06_quiesce import Quiesce
from steps.s07_preflight import Preflight
from steps.s08_prevent_connections import PreventConnections
from steps.s09_check_fragile_users import CheckFragileUsers
from steps.s10_kick_connections import KickConnections
from steps.s11_apply_patch import ApplyPatch
from steps.s12_allow_connections import AllowConnections
from steps.s13_deploy_to_others import DeployToOthers
from steps.s14_resume import Resume
from steps.s15_record import Record
from steps.s20_apply_live import ApplyLive
from steps.s30_decide import Decide
from steps.s31_reopen import Reopen
from steps.s32_begin_now import BeginNow

__all__ = [  # noqa: RUF022 - in running order
    "JudgeLanding", "RehearseOnStaging",
    "Admit", "AwaitApproval", "AwaitTurn", "Quiesce", "Preflight", "PreventConnections", "CheckFragileUsers",
    "KickConnections", "ApplyPatch", "AllowConnections", "DeployToOthers", "Resume",
    "Record",
    "ApplyLive", "Decide", "Reopen", "BeginNow",
]
