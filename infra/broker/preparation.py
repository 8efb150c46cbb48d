"""What must be before a delivery begins that an earlier member may have begun with, or for the last time."""

from infra.broker.breaker import Breaker
from infra.broker.delivery import Attempts, DeliveryPolicy
from infra.broker.lanes import Entry
from infra.broker.turns import Turns


class Preparation:
    """Brings deliveries to where they may begin; it may take as long as others are at work."""

    def __init__(
        self, group: str, policy: DeliveryPolicy, attempts: Attempts, breaker: Breaker, turns: Turns
    ) -> None:
        self._group = group
        self._policy = policy
        self._attempts = attempts
        self._breaker = breaker
        self._turns = turns

    def is_needed(self, entry: Entry) -> bool:
        return entry.delivery.redelivered or self._is_last_attempt(entry)

    async def make(self, entry: Entry) -> bool:
        """False if the delivery was begun so often, and never ended, that it is to be given up."""
        delivery = entry.delivery
        key = f"{self._group}/{delivery.topic}/{delivery.partition}/{delivery.offset}"
        if delivery.redelivered:
            await self._turns.in_partition(entry)
            if entry.attempts == 0:
                entry.attempts = await self._breaker.insist(lambda: self._attempts.count(key))
            if not entry.counted and entry.attempts >= self._policy.max_attempts:
                return False
        if not entry.gone and self._is_last_attempt(entry):
            await self._turns.be_alone(entry)
        if not entry.gone and delivery.redelivered and not entry.counted:
            # As late as can be: an attempt that is written down must be one that is made.
            entry.attempts = await self._breaker.insist(lambda: self._attempts.record(key))
            entry.counted = True
        return True

    def _is_last_attempt(self, entry: Entry) -> bool:
        attempt = entry.attempts if entry.counted else entry.attempts + 1
        return 1 < attempt >= self._policy.max_attempts
