"""`faceid bench load`: whole HTTPS searches, one after another, as many as the service can do, and at four
fifths of that, with arrivals at random; beside the plain facenet-pytorch script on the same photos.

Everything is measured for so long, not so often, so that a slow service takes no longer than a fast one.
"""

import asyncio
import math
import os
import platform
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias

import typer
from rich.console import Console

from infra.settings import Settings
from infra.telemetry import configure_logging
from scripts.bench.arrivals import closed_loop, open_loop, poisson_arrivals, ramp
from scripts.bench.callers import Callers, Cast
from scripts.bench.figures import Latency
from scripts.bench.load_report import (
    Answered,
    Calls,
    Filling,
    Level,
    LoadFailed,
    LoadReport,
    medians_of,
    print_report,
)
from scripts.bench.own_service import OwnService
from scripts.bench.room import Need, bench_folder, run_to_the_end
from scripts.bench.speed import PlainScript
from scripts.commands.terminal import Exit, complain, explained
from scripts.photos import prepare_photos
from scripts.profiles import Profile, ProfileClient
from scripts.setup import prepare_model
from workers.recognition.model import CalibratedModel

_SHARE_OF_CAPACITY: Final = 0.8
_NEARLY: Final = 0.95
_TURN: Final = 6
_SETTLING: Final = 2
_FEWEST_ROUNDS: Final = 3
_GALLERY_OF_SCRIPT: Final = 1000

_MOST_AT_ONCE: Final = 64
_AT_ONCE_A_SECOND: Final = 2
"""Of the run: a short one has no time to wait for the answers to very many."""

# Parts of the time for which the arrivals at random go on.
_ALONE: Final = 1 / 3
_LEVEL: Final = 1 / 12
_ENROLLING: Final = 1 / 3

# The run is broken off when it takes longer: all parts together are about 2.3 times the arrivals at random,
# and each of them may wait for its last answers.
_ALWAYS_S: Final = 420.0
_TIMES_ARRIVALS: Final = 4.0
_FILLING_S_A_FACE: Final = 0.01

# With 20,000 faces 4,500 bytes a face lay on disk when the service started, and 900 more of memory were taken
# a face; as much again for a moment when the index is built anew. The rest is torch, here and in the service.
_DISK_A_FACE: Final = 9_000
_DISK: Final = 1_000_000_000
_MEMORY_A_FACE: Final = 1_800
_MEMORY: Final = 2_500_000_000


@dataclass(frozen=True)
class NewService:
    """One that is made for the run and is gone afterwards."""

    faces: int
    folder: Path | None


@dataclass(frozen=True)
class RunningService:
    """One that somebody uses."""

    url: str
    ca_file: Path | None
    profile: str | None


Target: TypeAlias = NewService | RunningService


def load_command(
    settings: Settings, console: Console, target: Target, *, seconds: float, seed: int, as_json: bool
) -> None:
    """Measure and print. A run that can't go on is told in one line, and the exit status is 1."""
    configure_logging("error")
    told = Console(stderr=True, quiet=as_json, highlight=False)
    cast = Cast.of(prepare_photos(settings.cache_dir))
    model = prepare_model(settings, told.print)
    load = _Load(cast, model, told, seconds, seed)
    try:
        with explained():
            match target:
                case NewService(faces, folder):
                    need = Need(_DISK + faces * _DISK_A_FACE, _MEMORY + faces * _MEMORY_A_FACE)
                    with bench_folder(folder or settings.cache_dir / "bench", need) as home:
                        own = load.of_own(OwnService(home, model, faces, seed, told))
                        report = run_to_the_end(_within(_bound_s(seconds, faces), told, own))
                case RunningService():
                    report = run_to_the_end(_within(_bound_s(seconds, 0), told, load.of_running(target)))
    except LoadFailed as error:
        complain(str(error))
        raise typer.Exit(Exit.NO) from None
    print_report(report, console, as_json=as_json)


@dataclass
class _Load:
    """The steps, in order."""

    cast: Cast
    model: CalibratedModel
    told: Console
    seconds: float
    seed: int

    async def of_own(self, service: OwnService) -> LoadReport:
        async with service.running() as (api, filling):
            callers = Callers(api, self.cast)
            await callers.prepare()
            return await self._measure(callers, f"its own, {api.url}", filling)

    async def of_running(self, target: RunningService) -> LoadReport:
        ca_file = str(target.ca_file) if target.ca_file else None
        client = ProfileClient(Profile.find(target.profile, url=target.url, ca_file=ca_file))
        async with client as api, self._borrowed(Callers(api, self.cast)) as callers:
            return await self._measure(callers, api.url, None)

    @asynccontextmanager
    async def _borrowed(self, callers: Callers) -> AsyncGenerator[Callers]:
        """Somebody else's company: whom the run enrolled there is erased again."""
        try:
            await callers.prepare()
            yield callers
        finally:
            left = await callers.forget()
            if left:
                complain(f"Still enrolled, to be removed with `faceid users delete`: {', '.join(left)}")

    async def _measure(self, callers: Callers, service: str, filling: Filling | None) -> LoadReport:
        alone, plain_ms = await self._in_turns(callers)
        searches_alone = Calls.of(alone, "searches one after another")
        alone_p50, plain_p50 = searches_alone.latency.p50_ms, median(plain_ms)
        self._say(f"alone: {alone_p50:.1f} ms a search, {plain_p50:.1f} ms the plain script")
        most = min(_MOST_AT_ONCE, int(self.seconds * _AT_ONCE_A_SECOND))
        levels = await ramp(lambda at_once: self._level(callers, at_once), most=most)
        best = max(levels, key=lambda level: level.a_second)
        offered = best.a_second * _SHARE_OF_CAPACITY
        self._say(f"at {offered:.1f} a second, at random, for {self.seconds:g} s")
        due_s = poisson_arrivals(self.seed, offered, self.seconds)
        timed = await open_loop(due_s, callers.search)
        loaded = [replace(answered, took_ms=took_ms) for answered, took_ms in timed]
        under_load = Calls.of(loaded, "searches at random")
        self._say(
            f"p50 {under_load.latency.p50_ms:.1f} ms, p99 {under_load.latency.p99_ms:.1f} ms; enrolling"
        )
        enrolled, enrolling_s = await closed_loop(
            _knee(levels).at_once, callers.enrol, for_s=self.seconds * _ENROLLING, most=callers.enrolments
        )
        await callers.outlived()
        steps_ms, model_share = medians_of(alone)
        return LoadReport(
            service=service,
            machine=f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
            gallery_size=callers.gallery_size,
            photo=f"{max(len(probe.photo) for probe in self.cast.probes) // 1000} kB at most",
            seed=self.seed,
            seconds=self.seconds,
            filling=filling,
            alone=searches_alone,
            steps_ms=steps_ms,
            model_share=model_share,
            plain_script=Latency.of(plain_ms),
            times_plain=round(plain_p50 / alone_p50, 2),
            ramp=levels,
            capacity_a_second=best.a_second,
            offered_a_second=round(offered, 2),
            under_load=under_load,
            enrolments_a_second=round(_answered(enrolled) / enrolling_s, 2),
            enrolments=Calls.of(enrolled, "enrolments"),
        )

    async def _in_turns(self, callers: Callers) -> tuple[list[Answered], list[float]]:
        """The service and the plain script in turns, so that whatever else the machine does falls on both. A
        turn is several calls, of which the first do not count: right after the other's turn either takes up
        to twice as long. Neither does the first round."""
        script = await asyncio.to_thread(PlainScript, self.model, _GALLERY_OF_SCRIPT)
        ours: list[Answered] = []
        plain_ms: list[float] = []

        async def round_of(number: int) -> None:
            calls = range(number * _TURN, (number + 1) * _TURN)
            answers = [await callers.search(call) for call in calls]
            probes = [self.cast.probes[call % len(self.cast.probes)] for call in calls]
            times = [await asyncio.to_thread(script.search, probe.photo) for probe in probes]
            if number > 0:
                ours.extend(answers[_SETTLING:])
                plain_ms.extend(one["all"] for one in times[_SETTLING:])

        for number in range(_FEWEST_ROUNDS):
            await round_of(number)
        await closed_loop(1, lambda number: round_of(_FEWEST_ROUNDS + number), for_s=self.seconds * _ALONE)
        return ours, plain_ms

    async def _level(self, callers: Callers, at_once: int) -> Level:
        answers, took_s = await closed_loop(at_once, callers.search, for_s=self.seconds * _LEVEL)
        calls = Calls.of(answers, f"searches {at_once} at once")
        level = Level(at_once, round(_answered(answers) / took_s, 2), calls)
        self._say(f"{at_once} at once: {level.a_second:.1f} searches a second, p50 {calls.latency.p50_ms} ms")
        return level

    def _say(self, words: str) -> None:
        self.told.print(words, soft_wrap=True)


def _knee(levels: Sequence[Level]) -> Level:
    """The first that gives nearly what the best gives: more at once only wait."""
    enough = max(level.a_second for level in levels) * _NEARLY
    return next(level for level in levels if level.a_second >= enough)


def _answered(answers: Sequence[Answered]) -> int:
    return sum(one.fault is None for one in answers)


def _bound_s(seconds: float, faces: int) -> float:
    return _ALWAYS_S + seconds * _TIMES_ARRIVALS + faces * _FILLING_S_A_FACE


async def _within(bound_s: float, told: Console, work: Coroutine[Any, Any, LoadReport]) -> LoadReport:
    """Raises LoadFailed when it takes longer."""
    minutes = math.ceil(bound_s / 60)
    told.print(f"ends within {minutes} minutes, finished or not")
    bound = asyncio.timeout(bound_s)
    try:
        async with bound:
            return await work
    except TimeoutError:
        if not bound.expired():
            raise
        raise LoadFailed(f"The run was broken off: it had not ended after {minutes} minutes.") from None
