"""Which topics there are."""

from typing import Final

from infra.broker.port import Topic

_DAY_S: Final = 86_400

SEARCH: Final = Topic("search", partitions=8, keyed=False, retention_s=_DAY_S)
ENROLL: Final = Topic("enroll", partitions=8, keyed=False, retention_s=7 * _DAY_S)
# Keyed by company: its enrolments and removals are decided one after another. The count is fixed for ever,
# because another one would send a company's messages to another partition while older ones still wait in the
# first.
TEMPLATES: Final = Topic("templates", partitions=64, keyed=True, retention_s=7 * _DAY_S)
DEAD_LETTERS: Final = Topic("dead_letters", partitions=1, keyed=False, retention_s=7 * _DAY_S)

WORKED: Final = (SEARCH, ENROLL, TEMPLATES)
"""Those that jobs pass through."""

GROUP: Final = "workers"
"""Who works on them, however many processes that are."""

ALL: Final = (SEARCH, ENROLL, TEMPLATES, DEAD_LETTERS)
