"""How the benchmark of the whole service offers load, counts what comes of it, and ends."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from faceid_client import ApiError, AsyncClient, ConnectionLost, NotReachable, Reply
from scripts.bench import callers as callers_module
from scripts.bench.arrivals import closed_loop, open_loop, poisson_arrivals, ramp
from scripts.bench.callers import Callers, Cast, Person, Probe
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
from scripts.photos import Photos


def test_arrivals_come_at_the_rate_asked_for_by_chance_and_the_same_with_the_same_seed() -> None:
    due_s = poisson_arrivals(seed=7, a_second=50, for_s=400)
    gaps = np.diff(due_s)
    assert gaps.min() >= 0
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.05)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.05)  # exponential: as wide as long
    assert len(due_s) == pytest.approx(20_000, rel=0.05)
    assert due_s[-1] < 400
    assert due_s == poisson_arrivals(seed=7, a_second=50, for_s=400)
    assert due_s != poisson_arrivals(seed=8, a_second=50, for_s=400)


async def test_a_call_begins_when_it_is_due_though_no_other_was_answered() -> None:
    begun: list[int] = []
    all_begun = asyncio.Event()

    async def call(number: int) -> int:
        begun.append(number)
        if len(begun) == 5:
            all_begun.set()
        await all_begun.wait()  # in a closed loop this would wait for ever
        return number * 10

    async with asyncio.timeout(30):
        answered = await open_loop([0.0] * 5, call)
    assert [answer for answer, _ in answered] == [0, 10, 20, 30, 40]


async def test_a_call_that_was_begun_late_is_timed_from_when_it_was_due() -> None:
    async def call(_: int) -> None:
        return None

    # Due ten seconds before the run: whoever times from the sending would say next to nothing.
    ((_, took_ms),) = await open_loop([-10.0], call)
    assert took_ms >= 10_000


async def test_a_closed_loop_keeps_so_many_under_way_and_never_more() -> None:
    under_way = most = 0

    async def call(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return number

    answers, took_s = await closed_loop(4, call, for_s=60, most=50)
    assert sorted(answers) == list(range(50))
    assert most == 4
    assert 0 < took_s < 60


async def test_a_closed_loop_ends_when_its_time_is_over() -> None:
    async def call(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async with asyncio.timeout(30):
        answers, _ = await closed_loop(2, call, for_s=0.01)
    assert answers


@pytest.mark.parametrize("loop", ["open", "closed"])
async def test_what_ends_a_loop_is_raised_as_it_is(loop: str) -> None:
    async def call(_: int) -> None:
        raise LoadFailed("gone")

    with pytest.raises(LoadFailed, match="gone"):
        await (open_loop([0.0, 0.0], call) if loop == "open" else closed_loop(2, call, for_s=60))


@dataclass
class Step:
    a_second: float


async def ramp_of(*rates: float) -> list[int]:
    """The numbers under way that a ramp tries when they give these rates, the last for good."""
    tried: list[int] = []

    async def level(at_once: int) -> Step:
        tried.append(at_once)
        return Step(rates[min(len(tried), len(rates)) - 1])

    levels = await ramp(level, most=64)
    assert [one.a_second for one in levels] == [
        rates[min(place, len(rates) - 1)] for place in range(len(tried))
    ]
    return tried


async def test_a_ramp_doubles_until_two_doublings_in_a_row_have_gained_nothing() -> None:
    assert await ramp_of(10, 19, 30, 30.5, 30.9) == [1, 2, 4, 8, 16]
    assert await ramp_of(10, 10, 25, 20) == [1, 2, 4, 8, 16]  # one that gained nothing may be chance
    assert await ramp_of(10) == [1, 2, 4]
    assert await ramp_of(*(2.0**n for n in range(20))) == [1, 2, 4, 8, 16, 32, 64]


def test_faults_are_counted_by_what_they_were_and_are_not_among_the_latencies() -> None:
    answers = [Answered(float(number)) for number in range(1, 98)]
    answers += [Answered(98, is_wrong=True), Answered(0.1, fault="overloaded"), Answered(0.1, fault="lost")]
    calls = Calls.of([*answers, Answered(9e9, fault="overloaded")], "searches")
    assert (calls.made, calls.wrong, calls.missed) == (101, 1, 0)
    assert calls.faults == {"overloaded": 2, "lost": 1}
    assert (calls.latency.calls, calls.latency.p50_ms, calls.latency.max_ms) == (98, 50, 98)


def test_calls_of_which_none_was_answered_are_told_with_why() -> None:
    with pytest.raises(LoadFailed, match=r"Of the searches none was answered \(2 overloaded\)"):
        Calls.of([Answered(1, fault="overloaded")] * 2, "searches")
    with pytest.raises(LoadFailed, match="no time for any"):
        Calls.of([], "searches")


def test_what_the_steps_leave_is_everything_else_and_the_model_has_its_share() -> None:
    steps = {"queue": 1.0, "open": 2.0, "detect": 30.0, "embed": 18.0, "index": 1.0}
    answers = [Answered(100.0, steps_ms=steps), Answered(5.0, fault="lost")]
    medians, share = medians_of(answers)
    assert medians == {**steps, "everything else": 48.0}
    assert share == 0.5
    assert medians_of(answers[1:]) == ({}, 0.0)


@pytest.fixture
def report() -> LoadReport:
    calls = Calls.of([Answered(20.0), Answered(30.0), Answered(1.0, fault="overloaded")], "searches")
    return LoadReport(
        service="its own",
        machine="2 cores",
        gallery_size=151,
        photo="45 kB",
        seed=1,
        seconds=60,
        filling=Filling(1000, 500, 8.5, 4000.5, 10**9),
        alone=calls,
        steps_ms={"open": 1.5, "everything else": 8.0},
        model_share=0.8,
        plain_script=Latency.of([50.0, 60.0]),
        times_plain=2.5,
        ramp=[Level(1, 30.25, calls), Level(2, 40.5, calls)],
        capacity_a_second=40.5,
        offered_a_second=32.4,
        under_load=calls,
        enrolments_a_second=16.5,
        enrolments=calls,
    )


def test_the_report_as_json_has_every_count(report: LoadReport, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report, Console(), as_json=True)
    said = json.loads(capsys.readouterr().out)
    counted = {"made": 3, "wrong": 0, "missed": 0, "faults": {"overloaded": 1}}
    assert said["under_load"] == {**counted, "latency": said["alone"]["latency"]}
    assert said["alone"]["latency"] == {"calls": 2, "p50_ms": 30, "p99_ms": 30, "max_ms": 30}
    assert [one["at_once"] for one in said["ramp"]] == [1, 2]
    assert said["filling"]["disk_bytes_a_face"] == 4000.5


def test_the_report_as_a_table_has_a_row_for_each_kind_of_call(
    report: LoadReport, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(report, Console(width=160), as_json=False)
    said = capsys.readouterr().out
    for row in ("plain script", "search, alone", "search, 2 at once", "search, at random", "enrolment"):
        assert row in said
    assert "1 overloaded" in said
    assert "80% is the model's own work" in said


class Service(AsyncClient):
    """Answers what the test has laid down; an exception is raised."""

    def __init__(self, *answers: Reply | Exception) -> None:
        super().__init__("https://nobody.example")
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []

    async def call(self, method: str, path: str, **content: Any) -> Reply:
        self.sent.append({"path": path, **content})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def searched(user_id: str | None) -> Reply:
    body = {
        "matched": user_id is not None,
        "best": {"user_id": user_id} if user_id else None,
        "gallery_size": 150,
        "timings_ms": {"queue": 0.0, "embed": 5.0},
    }
    return Reply(200, {}, body)


CAST = Cast(
    [Person("ada", [b"a0", b"a1", b"a2"]), Person("bob", [b"b0", b"b1", b"b2"])],
    [Probe(b"ada", "ada"), Probe(b"stranger", None)],
)


async def answered(*answers: Reply | Exception) -> list[Answered]:
    """What comes of searches by the photos in turn: Ada's, a stranger's, Ada's …"""
    found = Callers(Service(*answers), CAST)
    return [await found.search(number) for number in range(len(answers))]


async def test_a_match_with_somebody_else_is_wrong_and_none_with_who_is_enrolled_is_missed() -> None:
    right = await answered(searched("ada"), searched(None))
    assert [(one.is_wrong, one.is_missed) for one in right] == [(False, False)] * 2
    wrong = await answered(searched("bob"), searched("ada"))
    assert [(one.is_wrong, one.is_missed) for one in wrong] == [(True, False)] * 2
    missed, _ = await answered(searched(None), searched(None))
    assert (missed.is_wrong, missed.is_missed, missed.fault) == (False, True, None)


async def test_whatever_is_no_answer_is_a_fault_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers_module, "_PAUSE_S", 0)
    answers = [
        Reply(503, {}, {"code": "overloaded"}),
        Reply(202, {}, {"job_id": "1"}),
        Reply(502, {}, "<html>"),
        ConnectionLost("lost"),
        NotReachable("refused"),
        searched(None),
    ]
    found = [one.fault for one in await answered(*answers)]
    assert found == ["overloaded", "not_in_time", "http_502", "connection_lost", "not_reachable", None]


async def test_a_service_that_is_gone_ends_the_run_and_one_that_was_away_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(callers_module, "_PAUSE_S", 0)
    monkeypatch.setattr(callers_module, "_GONE_AFTER_S", 0)
    away = Callers(Service(NotReachable("x"), NotReachable("x"), searched("ada"), NotReachable("x")), CAST)
    for _ in range(5):
        await away.search(0)
    with pytest.raises(LoadFailed, match=r"The service is gone: .* x\."):
        await away.search(0)


async def test_a_service_that_did_not_live_to_the_end_has_no_figures() -> None:
    await Callers(Service(Reply(503, {}, None)), CAST).outlived()
    with pytest.raises(LoadFailed, match="did not live to the end"):
        await Callers(Service(NotReachable("x")), CAST).outlived()


async def test_people_are_enrolled_in_turn_each_time_with_another_photo() -> None:
    service = Service(Reply(201, {}, {}))
    found = Callers(service, CAST)
    for number in range(4):
        assert (await found.enrol(number)).fault is None
    assert [(one["fields"]["user_id"], one["photo"]) for one in service.sent] == [
        ("ada", b"a1"),
        ("bob", b"b1"),
        ("ada", b"a2"),
        ("bob", b"b2"),
    ]


async def erased(*answers: Reply | Exception) -> list[str]:
    """Who is left when two people were enrolled and what is erased is answered so."""
    service = Service(Reply(201, {}, {}), Reply(201, {}, {}), *answers)
    found = Callers(service, CAST)
    for number in range(2):
        await found.enrol(number)
    return await found.forget()


async def test_who_could_not_be_erased_is_named_and_nobody_who_was_never_sent() -> None:
    gone, forbidden = Reply(404, {}, {"code": "not_found"}), Reply(403, {}, {"code": "forbidden"})
    assert await erased(gone, forbidden) == ["bob"]
    assert await erased(NotReachable("x")) == ["ada", "bob"]
    assert await erased(Reply(204, {"X-Correlation-ID": "c-1"}, None)) == []
    assert await Callers(Service(NotReachable("x")), CAST).forget() == []


async def test_a_company_that_refuses_the_person_to_search_for_ends_the_run_in_one_line() -> None:
    known = Reply(409, {}, {"code": "duplicate_face", "title": "Somebody else has this face"})
    with pytest.raises(LoadFailed, match=r"was not enrolled: Somebody else has this face \(duplicate_face\)"):
        await Callers(Service(known), CAST).prepare()
    unknown = Reply(401, {}, {"code": "unauthenticated", "title": "Who are you?"})
    with pytest.raises(ApiError, match="Who are you"):
        await Callers(Service(unknown), CAST).prepare()


def test_the_people_have_files_of_their_own_and_user_ids_of_one_run(photos: Photos) -> None:
    first, second = Cast.of(photos), Cast.of(photos)
    assert not {one.user_id for one in first.people} & {one.user_id for one in second.people}
    for person in first.people:
        assert len(set(person.photos)) == callers_module.PHOTOS_A_USER
    assert [probe.user_id for probe in first.probes] == [first.people[0].user_id, None]
    assert first.probes[0].photo not in first.people[0].photos
