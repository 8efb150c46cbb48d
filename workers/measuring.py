"""What of the workers' insides is looked at from outside."""

import math
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

from infra.broker.window import Window
from infra.metric_table import BREAKER, CHILD_RESTARTS, IN_FLIGHT, INDEX_FACES, INDEX_PENDING, MODEL
from infra.metrics import Metrics
from infra.repositories.collections import INDEX_MARKS
from infra.services import Services
from infra.vectors.port import Vectors
from schemas.recognition import Engine, ModelStamp
from workers.indexing import mark_id
from workers.reindexing import companies_of


@contextmanager
def window_shown(metrics: Metrics, window: Window, topic: str) -> Generator[None]:
    """Show what a consumer holds, and whether it waits for a store."""
    with ExitStack() as stack:
        stack.enter_context(metrics.reading(IN_FLIGHT, lambda: window.in_flight, topic))
        stack.enter_context(metrics.reading(BREAKER, lambda: window.breaker_state, topic))
        yield


@contextmanager
def child_shown(metrics: Metrics, child: str, restarts: Callable[[], int]) -> Generator[None]:
    """Show how often a child process had to be started again."""
    with metrics.reading(CHILD_RESTARTS, restarts, child):
        yield


def show_model(metrics: Metrics, model: ModelStamp, engine: Engine | None) -> None:
    """Show which model is at work, and what computes it."""
    how = (engine.name, engine.device, engine.precision) if engine else ("", "", "")
    metrics.set(MODEL, 1, model.id, model.version, *how)


async def measure_index(services: Services, vectors: Vectors, collection: str) -> None:
    """Show how large the index of all companies is, and how far behind the records what it has on disk is:
    three questions a company, so one process of many asks them."""
    faces = pending = 0
    record_id = mark_id(collection, vectors.edition)
    for company_id in await companies_of(services):
        faces += await vectors.count(company_id)
        mark = await services.documents.get(INDEX_MARKS, company_id, record_id)
        pending += await services.faces.last_change(company_id) - (mark.change if mark else 0)
    services.metrics.set(INDEX_FACES, faces)
    services.metrics.set(INDEX_PENDING, pending)


def show_no_index(metrics: Metrics) -> None:
    """Show nothing of the index: another process has measured it, and what this one knows is old."""
    metrics.set(INDEX_FACES, math.nan)
    metrics.set(INDEX_PENDING, math.nan)
