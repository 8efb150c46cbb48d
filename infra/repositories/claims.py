"""Idempotency keys: what each stands for, claimed before anything is done under it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents
from infra.keys.company import CompanyKeys
from infra.keys.platform import PlatformKey
from infra.keys.scoped import ScopedKey
from infra.repositories.changing import replaced_record
from infra.repositories.collections import CLAIMS
from schemas.ids import PLATFORM
from schemas.records import Claim

KEPT_FOR: Final = timedelta(hours=24)


@dataclass(frozen=True)
class Claimant:
    """Whose key it is: a company's credential, or under PLATFORM somebody who has none yet."""

    scope_id: UUID
    owner: str


class KeptAnswer(BaseModel):
    """An answer that is given again."""

    status: int
    content_type: str
    location: str | None
    body: str


@dataclass(frozen=True)
class Claims:
    """Reads and writes claims. Each change is a compare-and-set, so that of several requests under one key
    one goes on.

    Unsynced, but for answers: what a claim promises is written after it and synced, and a power failure that
    takes the claim has taken that, too.
    """

    documents: Documents
    keys: CompanyKeys
    platform: PlatformKey
    clock: Clock

    async def id_of(self, by: Claimant, key: str) -> str:
        """The claim's id: the same key of another credential is another claim."""
        return (await self._key(by)).lookup("claim.key", f"{by.owner}\n{key}")

    async def fingerprint(self, by: Claimant, text: str) -> str:
        return (await self._key(by)).lookup("claim.fingerprint", text)

    async def make(
        self, by: Claimant, claim_id: str, *, fingerprint: str, made_id: UUID
    ) -> tuple[Claim, bool]:
        """Claim a key; answers the claim that counts, and whether it is this one."""
        now = self.clock.now()
        claim = Claim(
            id=claim_id,
            fingerprint=fingerprint,
            made_id=made_id,
            claimed_at=now,
            expires_at=now + KEPT_FOR,
        )
        while True:
            try:
                await self.documents.insert(CLAIMS, by.scope_id, claim, synced=False)
            except AlreadyExists:
                earlier = await self.documents.get(CLAIMS, by.scope_id, claim_id)
                if earlier is None:
                    continue  # It was past its time and swept away just now.
                return earlier, False
            return claim, True

    async def take_up(self, by: Claimant, claim: Claim, *, fingerprint: str, made_id: UUID) -> Claim | None:
        """Begin anew under a claim; None if somebody else did so first."""
        now = self.clock.now()
        renewed = made_id != claim.made_id
        taken = claim.model_copy(
            update={
                "fingerprint": fingerprint,
                "made_id": made_id,
                "claimed_at": now,
                "free": False,
                "accepted": claim.accepted and not renewed,
                "secret_shown": False,
                "answer_sealed": None,
                "expires_at": now + KEPT_FOR if renewed else claim.expires_at,
            }
        )
        return await self._replaced(by, claim, taken, synced=False)

    async def mark_accepted(self, by: Claimant, claim: Claim) -> None:
        """The request is being answered with 202."""
        accepted = claim.model_copy(update={"accepted": True})
        await self._replaced(by, claim, accepted, synced=False)

    async def keep(self, by: Claimant, claim: Claim, answer: KeptAnswer | None) -> bool:
        """Keep the answer; None for one that held a secret, of which only that it was given is kept.

        False if the request was taken up again meanwhile: then that run's answer is the one that counts.
        """
        sealed = None
        if answer is not None:
            sealed = (await self._key(by)).seal_text("claim.answer", claim.id, answer.model_dump_json())
        kept = claim.model_copy(update={"answer_sealed": sealed, "secret_shown": answer is None})
        return await self._replaced(by, claim, kept, synced=True) is not None

    async def release(self, by: Claimant, claim: Claim) -> None:
        """Let the next request under the key begin at once. The same request goes on under the same id."""
        free = claim.model_copy(update={"free": True})
        await self._replaced(by, claim, free, synced=False)

    async def answer(self, by: Claimant, claim: Claim) -> KeptAnswer | None:
        """The answer that was kept; None where there is none."""
        if claim.answer_sealed is None:
            return None
        key = await self._key(by)
        return KeptAnswer.model_validate_json(key.open_text("claim.answer", claim.id, claim.answer_sealed))

    async def _replaced(self, by: Claimant, claim: Claim, new: Claim, *, synced: bool) -> Claim | None:
        return await replaced_record(self.documents, CLAIMS, by.scope_id, claim, new, synced=synced)

    async def _key(self, by: Claimant) -> ScopedKey:
        return self.platform if by.scope_id == PLATFORM else await self.keys.get(by.scope_id)
