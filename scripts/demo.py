"""`faceid demo`: the main job on real photos, each answer checked, shown as it happens."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faceid_client import ApiError, AsyncClient, Reply
from infra.settings import Settings
from scripts.demo_door import show_door
from scripts.drawing import Panel, draw
from scripts.photos import Photos, prepare_photos
from scripts.service_process import ServiceProcess
from scripts.setup import set_up
from scripts.showing import Show, label_of, mark_of, problem_of

_EMAIL, _PASSWORD = "admin@example.com", "correct horse battery staple"
_OK, _CREATED, _NO_CONTENT, _NOT_FOUND, _CONFLICT = 200, 201, 204, 404, 409


def demo(settings: Settings, console: Console) -> int:
    """Show everything once; the exit status says whether each answer was the right one."""
    console.print("[bold]1. Set-up[/]")
    set_up(settings, lambda words: console.print(f"  {words}", highlight=False, soft_wrap=True))
    photos = prepare_photos(settings.cache_dir)
    home = Path(tempfile.mkdtemp(prefix="faceid-demo-"))
    picture = settings.cache_dir / "demo.png"
    show = Show(console)
    try:
        asyncio.run(_run(show, photos, home))
        draw(show.panels, picture)
        console.print(f"\nPicture with boxes and names: {picture}", highlight=False, soft_wrap=True)
    finally:
        shutil.rmtree(home)
    if show.wrong:
        console.print(f"[bold red]{show.wrong} answers were not the right ones.[/]")
        return 1
    console.print("[bold green]Every answer was the right one.[/]")
    return 0


async def _run(show: Show, photos: Photos, home: Path) -> None:
    started_s = time.perf_counter()
    service = ServiceProcess(home, home / "serve.log")
    await service.start()
    show.step("the service is up, model loaded and tried", service.url, right=True, started_s=started_s)
    try:
        async with AsyncClient(service.url, ca_file=service.ca_file) as api:
            await _account(show, api)
            faces = await _enrol(show, api, photos)
            await _search(show, api, photos)
            await _refusals(show, api, photos)
            await _door(show, api, photos, home)
            await _log(show, api)
            await _delete(show, api, photos, faces)
    finally:
        await service.stop()


async def _account(show: Show, api: AsyncClient) -> None:
    show.console.print("\n[bold]2. A company registers and logs in[/]")
    started_s = time.perf_counter()
    account = {"company_name": "Example Ltd", "email": _EMAIL, "password": _PASSWORD}
    reply = await api.call("POST", "/register", json=account)
    company_id = reply.body.get("company_id", "")
    show.step("POST /register", f"company {company_id}", right=reply.status == _CREATED, started_s=started_s)
    started_s = time.perf_counter()
    try:
        await api.login(_EMAIL, _PASSWORD)
        show.step("POST /login", "an access token for 15 minutes", right=True, started_s=started_s)
    except ApiError as refused:
        show.step("POST /login", str(refused), right=False, started_s=started_s)


async def _enrol(show: Show, api: AsyncClient, photos: Photos) -> dict[str, list[str]]:
    show.console.print("\n[bold]3. Its people are enrolled[/]")
    faces: dict[str, list[str]] = {}
    for name in photos.people:
        for photo in photos.enrolment(name):
            started_s = time.perf_counter()
            reply = await _post_enrolment(api, photo, name)
            right = reply.status == _CREATED
            said = f"{name}, face {reply.body['face_id'][-12:]}" if right else problem_of(reply)
            show.step(f"POST /face/enroll {photo.name}", said, right=right, started_s=started_s)
            if right:
                faces.setdefault(name, []).append(reply.body["face_id"])
    return faces


async def _search(show: Show, api: AsyncClient, photos: Photos) -> None:
    show.console.print("\n[bold]4. Who is this? (photos that were not enrolled)[/]")
    for name in photos.people:
        for photo in photos.probes(name):
            await _search_one(
                show, api, photo, lambda best, name=name: best is not None and best["full_name"] == name
            )
    await _search_one(show, api, photos.stranger, lambda best: best is None)


async def _search_one(
    show: Show,
    api: AsyncClient,
    photo: Path,
    expected: Callable[[dict[str, Any] | None], bool],
    *,
    when: str = "",
) -> None:
    started_s = time.perf_counter()
    fields = {"location": '{"device_id": "door-1", "site": "main entrance"}'}
    reply = await api.call("POST", "/face/search", photo=photo, fields=fields)
    if reply.status != _OK:
        show.step(f"POST /face/search {photo.name}", problem_of(reply), right=False, started_s=started_s)
        return
    best, body = reply.body["best"], reply.body
    label = label_of(best)
    if best:
        said = f"{label}, similarity {best['similarity']:.2f}, among {body['gallery_size']} people"
    else:
        said = f"{label} (needs {body['threshold']:.1f} % confidence, {body['gallery_size']} people)"
    show.step(f"POST /face/search {photo.name}", said, right=expected(best), started_s=started_s)
    show.panels.append(Panel(photo, [mark_of(body["face"], f"{label}{when}", best is not None)]))


async def _refusals(show: Show, api: AsyncClient, photos: Photos) -> None:
    show.console.print("\n[bold]5. What is refused[/]")
    twice = photos.people["Barack Obama"][-1]
    started_s = time.perf_counter()
    reply = await _post_enrolment(api, twice, "Somebody Else")
    right = reply.status == _CONFLICT and reply.body["code"] == "duplicate_face"
    show.step(
        f"POST /face/enroll {twice.name} as Somebody Else",
        problem_of(reply),
        right=right,
        started_s=started_s,
    )
    started_s = time.perf_counter()
    reply = await api.call("POST", "/face/search", photo=photos.no_face)
    right = reply.status != _OK and reply.body["code"] == "no_face"
    show.step(
        f"POST /face/search {photos.no_face.name} (a cat)",
        problem_of(reply),
        right=right,
        started_s=started_s,
    )


async def _door(show: Show, api: AsyncClient, photos: Photos, home: Path) -> None:
    show.console.print("\n[bold]6. A door, with an API key of its own[/]")
    name = "Barack Obama"
    await show_door(show, api, (_user_id(name), photos.people[name][-1]), photos.stranger, home)


async def _log(show: Show, api: AsyncClient) -> None:
    show.console.print("\n[bold]7. The access log[/]")
    started_s = time.perf_counter()
    reply = await api.call("GET", "/logs", params={"limit": "50"})
    entries = reply.body["items"]
    outcomes = {entry["outcome"] for entry in entries}
    right = {"matched", "not_matched", "enrolled", "refused"} <= outcomes
    show.step("GET /logs", f"{len(entries)} entries, one an attempt", right=right, started_s=started_s)
    table = Table("time", "outcome", "user", "code", "confidence")
    for entry in entries:
        confidence = entry.get("confidence")
        table.add_row(
            entry["time"][11:23],
            entry["outcome"],
            entry.get("user_id") or "",
            entry.get("code") or "",
            "" if confidence is None else f"{confidence:.2f} %",
        )
    show.console.print(table)


async def _delete(show: Show, api: AsyncClient, photos: Photos, faces: dict[str, list[str]]) -> None:
    show.console.print("\n[bold]8. A person is deleted, and searched for again[/]")
    name = "Barack Obama"
    for face_id in faces.get(name, []):
        started_s = time.perf_counter()
        reply = await api.call("DELETE", f"/faces/{face_id}")
        gone = await api.call("GET", f"/faces/{face_id}")
        right = reply.status == _NO_CONTENT and gone.status == _NOT_FOUND
        show.step(f"DELETE /faces/…{face_id[-12:]}", "gone", right=right, started_s=started_s)
    started_s = time.perf_counter()
    reply = await api.call("DELETE", f"/users/{_user_id(name)}")
    show.step(
        f"DELETE /users/{_user_id(name)}", "erased", right=reply.status == _NO_CONTENT, started_s=started_s
    )
    await _search_one(show, api, photos.people[name][-1], lambda best: best is None, when=" (after deletion)")


async def _post_enrolment(api: AsyncClient, photo: Path, name: str) -> Reply:
    fields: dict[str, str | list[str]] = {"user_id": _user_id(name), "full_name": name, "groups": ["staff"]}
    return await api.call("POST", "/face/enroll", photo=photo, fields=fields)


def _user_id(name: str) -> str:
    return name.lower().replace(" ", ".")
