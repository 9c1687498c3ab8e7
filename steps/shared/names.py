"""The names by which builders, schedulers, services and properties are known to each other and to the web pages."""

from __future__ import annotations

from enum import StrEnum

from downtime.patches import Lane


class BuilderName(StrEnum):
    """The builders, in the order of a patch's way."""

    STAGING = "staging"        # judges a landing and rehearses what is pending
    PRODUCTION = "production"  # one cold patch, one fast downtime
    LIVE = "live"              # one live patch, without an outage
    APPROVE = "approve"        # a decision about a waiting production or live build
    BEGIN_NOW = "begin-now"    # an operator's word that an approved deployment does not wait for its window
    REOPEN = "reopen"          # emergency: undoes what a dead deployment closed


BUILDER_OF = {Lane.COLD: BuilderName.PRODUCTION, Lane.LIVE: BuilderName.LIVE}  # who deploys the patches of a lane

LANDINGS = "landings"  # the scheduler that turns a landing into a build of `staging`

# the schedulers by which people ask; a build of another scheduler is refused by its first step
FORCED_BY = {
    BuilderName.STAGING: "rehearse-now",
    BuilderName.PRODUCTION: "deploy-patch",
    BuilderName.LIVE: "deploy-live-patch",
    BuilderName.APPROVE: "decide",
    BuilderName.BEGIN_NOW: "begin-deployment-now",
    BuilderName.REOPEN: "reopen-database",
}

# the schedulers by which `staging` offers what it has rehearsed
OFFERED_BY = {BuilderName.PRODUCTION: "offer-to-production", BuilderName.LIVE: "offer-to-live"}

SCHEDULERS = frozenset({LANDINGS, *FORCED_BY.values(), *OFFERED_BY.values()})


class ServiceName(StrEnum):
    """The master's services that steps find by name: see `steps.shared.services`."""

    OUTAGES = "fastdowntime-outages"
    APPROVALS = "fastdowntime-approvals"
    EVIDENCE = "fastdowntime-evidence"
    QUIESCENCE = "fastdowntime-quiescence"
    PATCHES = "fastdowntime-patches"
    VISITORS = "fastdowntime-visitors"
    JOURNAL = "fastdowntime-journal"
    TURNS = "fastdowntime-turns"
    PAGES = "fastdowntime-pages"
    PROBES = "fastdowntime-probes"


class Property:
    """Build properties (plain strings: Buildbot hands their names to database drivers) that carry a deployment
    from step to step, and what a later build may ask.
    """

    PATCH = "patch"
    SHA256 = "sha256"               # of the patch's bytes as they were rehearsed
    DIGEST = "digest"               # of the evidence
    REQUESTED_BY = "requested_by"   # list of names and addresses
    APPROVED_BY = "approved_by"
    APPROVED_DIGEST = "approved_digest"
    APPROVED_AT = "approved_at"      # list of instants, one for each approval
    HURRIED = "begins_now"           # by whose word it does not wait for its window
    SIGNOFF_PATCH = "signoff_patch"  # as the form has it, and as anybody may fill it in
    SIGNED_OFF = "signed_off"        # the same, after `JudgeLanding` has made sure who it was
    REASON = "reason"
    BUILD = "build"
    DECISION = "decision"
    ENVIRONMENT = "environment"
    OUTAGE_SECONDS = "outage_seconds"
    APPLIED = "applied"  # whether the patch is in (of several databases: in all of them), once that is known
    CANARY_HAS_IT = "canary_has_it"  # the first of several databases has the patch by an earlier deployment
    # written durably before production is touched: no build of the same request may touch it again
    BEGUN = "connections_prevented"
