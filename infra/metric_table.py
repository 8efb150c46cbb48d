"""Which metrics there are: one table, from which they are made, and against which the dashboard is checked.

No label tells of a company, a user, a key or a request: what is counted here is seen by whoever operates the
service, and kept by others.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""From an index's answer to the longest that a search may take."""

_BATCH: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Metric:
    """A metric by name, kind, help and labels. One that is `read` is asked for when somebody looks; all
    others are told of what happens."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    read: bool = False


# The ingress.
REQUESTS: Final = Metric(
    "faceid_requests_total",
    "counter",
    "HTTP requests answered, by the route's template.",
    ("method", "route", "status"),
)
REQUEST_SECONDS: Final = Metric(
    "faceid_request_seconds",
    "histogram",
    "From a request's headers to its answer, the wait for its job included.",
    ("route",),
    SECONDS,
)
REFUSED: Final = Metric(
    "faceid_requests_refused_total", "counter", "Requests answered with a problem, by its code.", ("code",)
)
EXPECTED_WAIT: Final = Metric(
    "faceid_search_expected_wait_seconds",
    "gauge",
    "How long a search that is accepted now is likely to wait, as this ingress reckons.",
    read=True,
)

# Jobs.
JOBS: Final = Metric(
    "faceid_jobs_total",
    "counter",
    "Jobs ended: an attempt at recognition by its outcome, another job by its state.",
    ("kind", "outcome"),
)
JOB_SECONDS: Final = Metric(
    "faceid_job_seconds", "histogram", "From a job's acceptance to its end.", ("kind",), SECONDS
)
STAGE_SECONDS: Final = Metric(
    "faceid_stage_seconds",
    "histogram",
    "What a job spends in each stage: queue, records, open, detect, embed (of its batch), index, decide (a "
    "batch of enrolments), end.",
    ("stage",),
    SECONDS,
)
BATCH_JOBS: Final = Metric(
    "faceid_batch_jobs", "histogram", "Jobs that are worked on together.", ("topic",), _BATCH
)
EVENTS: Final = Metric(
    "faceid_events_relayed_total", "counter", "Events of ended jobs handed on to those who follow them."
)
DEAD_LETTERS: Final = Metric("faceid_dead_letters_total", "counter", "Messages given up.", ("topic", "cause"))

# The queue.
LAG_MESSAGES: Final = Metric(
    "faceid_lag_messages", "gauge", "Messages that wait or are being worked on.", ("topic",)
)
LAG_SECONDS: Final = Metric("faceid_lag_seconds", "gauge", "The age of the oldest of them.", ("topic",))
LAG_MEASURED: Final = Metric(
    "faceid_lag_measured_seconds_ago", "gauge", "How old these two answers are.", ("topic",), read=True
)
IN_FLIGHT: Final = Metric(
    "faceid_in_flight_messages", "gauge", "Messages that this worker holds.", ("topic",), read=True
)
BREAKER: Final = Metric(
    "faceid_breaker_state",
    "gauge",
    "Whether a store is down for this consumer: 0 no, 1 it is being tried, 2 it is left alone for a while.",
    ("topic",),
    read=True,
)
STORE_BREAKER: Final = Metric(
    "faceid_store_breaker_state",
    "gauge",
    "Whether a server of this process is silent: 0 no, 1 it is being tried, 2 it is left alone for a moment.",
    ("store",),
    read=True,
)

# The index, the model, and what runs by itself.
INDEX_FACES: Final = Metric(
    "faceid_index_faces",
    "gauge",
    "Faces in the search index; NaN where another process has measured it last.",
)
INDEX_PENDING: Final = Metric(
    "faceid_index_pending_changes",
    "gauge",
    "Changes of face records that the index is not known to have safe on disk.",
)
CHILD_RESTARTS: Final = Metric(
    "faceid_child_restarts_total",
    "counter",
    "Starts of a child process after its first.",
    ("child",),
    read=True,
)
MODEL: Final = Metric(
    "faceid_model_info",
    "gauge",
    "1 for the model that is at work, and what computes it.",
    ("id", "version", "engine", "device", "precision"),
)
CHORE_RUNS: Final = Metric(
    "faceid_chore_runs_total",
    "counter",
    "Rounds of what is done from time to time: done, failed, or put_off because a store was down.",
    ("chore", "outcome"),
)
CHORE_DONE: Final = Metric(
    "faceid_chore_last_done_timestamp_seconds", "gauge", "When a chore was last done (Unix time).", ("chore",)
)

TABLE: Final = (
    REQUESTS,
    REQUEST_SECONDS,
    REFUSED,
    EXPECTED_WAIT,
    JOBS,
    JOB_SECONDS,
    STAGE_SECONDS,
    BATCH_JOBS,
    EVENTS,
    DEAD_LETTERS,
    LAG_MESSAGES,
    LAG_SECONDS,
    LAG_MEASURED,
    IN_FLIGHT,
    BREAKER,
    STORE_BREAKER,
    INDEX_FACES,
    INDEX_PENDING,
    CHILD_RESTARTS,
    MODEL,
    CHORE_RUNS,
    CHORE_DONE,
)
