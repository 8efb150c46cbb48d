"""What `faceid bench load` says: what came of the calls, counted, as JSON and as a table."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from scripts.bench.figures import Latency

MODEL_STEPS: Final = ("open", "detect", "embed")
"""Which of a search's steps are the model's own work."""
ELSE: Final = "everything else"


class LoadFailed(Exception):
    """The run can't go on, or what it found says nothing: told in one line."""


@dataclass(frozen=True)
class Answered:
    """What came of one call."""

    took_ms: float
    fault: str | None = None
    """A problem's code, or what became of the connection; None for an answer."""
    is_wrong: bool = False
    """Somebody was matched whom the photo does not show."""
    is_missed: bool = False
    """Whom the photo shows is enrolled and was not matched."""
    steps_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of the whole time, what the service says of its steps."""


@dataclass(frozen=True)
class Calls:
    """Calls of one kind, counted. `latency` is that of those answered; a fault is never among them."""

    made: int
    wrong: int
    missed: int
    """Wrong as well, but with very many enrolled it may be the policy that rules out any match."""
    faults: dict[str, int]
    latency: Latency

    @classmethod
    def of(cls, answers: Sequence[Answered], what: str) -> "Calls":
        """Raises LoadFailed when not one was answered."""
        faults = Counter(one.fault for one in answers if one.fault is not None)
        times_ms = [one.took_ms for one in answers if one.fault is None]
        if not times_ms:
            told = ", ".join(f"{number} {fault}" for fault, number in faults.most_common())
            raise LoadFailed(f"Of the {what} none was answered ({told or 'there was no time for any'}).")
        wrong = sum(one.is_wrong for one in answers)
        missed = sum(one.is_missed for one in answers)
        return cls(len(answers), wrong, missed, dict(faults.most_common()), Latency.of(times_ms))


@dataclass(frozen=True)
class Level:
    """So many searches under way at once, each of which is followed by the next."""

    at_once: int
    a_second: float
    calls: Calls


@dataclass(frozen=True)
class Filling:
    """How the gallery of a service of its own got there."""

    records_a_second: float
    """Faces whose records (user, face, sealed template) were written."""
    reindexed_a_second: float
    """Faces whose records were read, opened and written to the index: what `faceid reindex` does."""
    start_s: float
    """From starting the service to its being ready, with all of them."""
    disk_bytes_a_face: float
    memory_bytes: int
    """Of all its processes, when it was ready."""


@dataclass(frozen=True)
class LoadReport:
    """One run's figures."""

    service: str
    machine: str
    """The one that this command ran on."""
    gallery_size: int
    photo: str
    seed: int
    seconds: float
    filling: Filling | None
    alone: Calls
    """One search after another."""
    steps_ms: dict[str, float]
    """Medians of them; `everything else` is what the steps leave of the whole HTTPS call."""
    model_share: float
    """The model's part of such a search, at the median."""
    plain_script: Latency
    """facenet-pytorch as it comes on the same photos, in turns with these; without HTTPS, in one process."""
    times_plain: float
    """How many times faster than the plain script a search is that is alone."""
    ramp: list[Level]
    capacity_a_second: float
    """Of the best of the ramp's levels."""
    offered_a_second: float
    under_load: Calls
    """Arrivals at random, each timed from when it was due."""
    enrolments_a_second: float
    enrolments: Calls


def medians_of(answers: Sequence[Answered]) -> tuple[dict[str, float], float]:
    """Each step's median in milliseconds with what they leave, and the model's share of the whole."""
    timed = [one for one in answers if one.steps_ms]
    steps = list(timed[0].steps_ms) if timed else []
    found = {step: round(median(one.steps_ms.get(step, 0.0) for one in timed), 2) for step in steps}
    if timed:
        found[ELSE] = round(median(one.took_ms - sum(one.steps_ms.values()) for one in timed), 2)
    shares = [sum(one.steps_ms.get(step, 0.0) for step in MODEL_STEPS) / one.took_ms for one in timed]
    return found, round(median(shares), 3) if shares else 0.0


def print_report(report: LoadReport, console: Console, *, as_json: bool) -> None:
    if as_json:
        console.print_json(json.dumps(asdict(report)))
        return
    console.print(f"{report.service}: {report.gallery_size:,} people enrolled; photos of {report.photo}.")
    table = Table("", "a second", "p50, ms", "p99, ms", "calls", "wrong", "missed", "faults")
    table.columns[0].no_wrap = True
    plain = report.plain_script
    table.add_row("plain script", f"{1000 / plain.p50_ms:.1f}", *_times(plain), str(plain.calls), "", "", "")
    table.add_row("search, alone", f"{1000 / report.alone.latency.p50_ms:.1f}", *_cells(report.alone))
    for level in report.ramp:
        table.add_row(f"search, {level.at_once} at once", f"{level.a_second:.1f}", *_cells(level.calls))
    table.add_row("search, at random", f"{report.offered_a_second:.1f}", *_cells(report.under_load))
    table.add_row("enrolment", f"{report.enrolments_a_second:.1f}", *_cells(report.enrolments))
    console.print(table)
    steps = ", ".join(f"{step} {took_ms:.1f}" for step, took_ms in report.steps_ms.items())
    console.print(
        f"A search that is alone: {steps} ms; {report.model_share:.0%} is the model's own work;"
        f" {report.times_plain:.2f} times the plain script's speed.",
        soft_wrap=True,
    )
    console.print(
        f"Capacity {report.capacity_a_second:.1f} searches a second; the searches at random come at four"
        " fifths of it and are timed from when each was due.",
        soft_wrap=True,
    )


def _cells(calls: Calls) -> tuple[str, ...]:
    faults = ", ".join(f"{number} {fault}" for fault, number in calls.faults.items())
    return (*_times(calls.latency), str(calls.made), str(calls.wrong), str(calls.missed), faults)


def _times(latency: Latency) -> tuple[str, str]:
    return f"{latency.p50_ms:.1f}", f"{latency.p99_ms:.1f}"
