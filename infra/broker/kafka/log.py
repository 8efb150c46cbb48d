"""What aiokafka logs, once a minute each: it says the same many times a second while a broker is down."""

import logging
from time import monotonic
from typing import Final

from infra.telemetry import get_logger

_SAID_EVERY_S: Final = 60.0

# Said at every change of members, as a warning or an error; nothing is wrong then.
_USUAL: Final = ("Heartbeat failed for group %s because it is rebalancing", "OffsetCommit failed for group")

_log = get_logger(__name__)


class _Seldom(logging.Handler):
    """Passes warnings on, without the values that they would fill in, each a minute apart from its like."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said_at_s: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        said = str(record.msg)
        now_s = monotonic()
        if said.startswith(_USUAL) or now_s - self._said_at_s.get(said, -_SAID_EVERY_S) < _SAID_EVERY_S:
            return
        self._said_at_s[said] = now_s
        _log.warning("kafka_client", said=said, part=record.name)


def quiet_aiokafka() -> None:
    """Let aiokafka's lines go this way only."""
    logger = logging.getLogger("aiokafka")
    if not any(isinstance(handler, _Seldom) for handler in logger.handlers):
        logger.addHandler(_Seldom())
        logger.propagate = False
        logger.setLevel(logging.WARNING)
