"""The service that keeps what rehearsals have shown, by patch and digest of its bytes, across restarts."""

from __future__ import annotations

from buildbot.util.service import BuildbotService
from twisted.logger import Logger

from downtime.evidence import Evidence
from master.state import Drawer
from steps.shared.names import ServiceName

LOG = Logger()


class EvidenceStore(BuildbotService):  # type: ignore[misc]
    """See `steps.shared.services.EvidenceStore`."""

    name = ServiceName.EVIDENCE.value

    async def keep(self, evidence: Evidence) -> None:
        """A newer rehearsal of the same bytes replaces the older one, and with its digest voids its approvals."""
        await self._drawer.put(_key(evidence.patch_id, evidence.sha256), evidence.to_json())

    async def find(self, patch_id: str, sha256: str) -> Evidence | None:
        text = await self._drawer.get(_key(patch_id, sha256))
        if text is None:
            return None
        try:
            return Evidence.from_json(text)
        except ValueError as error:
            # written by another version: as good as none, and the patch is to be looked at again
            LOG.warn("evidence of {patch} cannot be read: {reason}", patch=patch_id,
                     reason=str(error).partition("\n")[0])
            return None

    @property
    def _drawer(self) -> Drawer:
        return Drawer(self.master, self.name)


def _key(patch_id: str, sha256: str) -> str:
    return f"{sha256} {patch_id}"
