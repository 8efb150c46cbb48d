"""A door in the demonstration: it has an API key of its own, which may only search, until it is revoked."""

import time
from pathlib import Path
from typing import Any

from PIL import Image

from faceid_client import AsyncClient
from scripts.drawing import Panel
from scripts.showing import Show, label_of, mark_of, problem_of

_GROUP_HEIGHT_PX = 480
_DOOR = {"name": "Front door", "scopes": ["search"], "groups": ["staff"]}


async def show_door(
    show: Show, admin: AsyncClient, known: tuple[str, Path], stranger: Path, home: Path
) -> None:
    """Make the key, verify and search with it, revoke it, and see that it is. `known` is somebody enrolled:
    the user id, and a photo that was not."""
    started_s = time.perf_counter()
    reply = await admin.call("POST", "/api-keys", json=_DOOR)
    if reply.status != 201:
        show.step("POST /api-keys", problem_of(reply), right=False, started_s=started_s)
        return
    key: dict[str, Any] = reply.body
    show.step(
        "POST /api-keys",
        f"fid_…{key['last_four']} may search the group staff",
        right=True,
        started_s=started_s,
    )
    user_id, photo = known
    ca_file = home / "tls" / "ca.pem"
    async with AsyncClient(admin.url, ca_file=ca_file, api_key=key["api_key"]) as door:
        await _verify(show, door, photo, user_id, expected=True)
        await _verify(show, door, photo, "joe.biden", expected=False)
        await _search_all(show, door, _side_by_side(photo, stranger, home / "two.png"), user_id)
        started_s = time.perf_counter()
        reply = await admin.call("DELETE", f"/api-keys/{key['key_id']}")
        said = "revoked" if reply.status == 204 else problem_of(reply)
        show.step(
            f"DELETE /api-keys/…{key['key_id'][-12:]}", said, right=reply.status == 204, started_s=started_s
        )
        started_s = time.perf_counter()
        reply = await door.call("POST", "/face/search", photo=photo)
        right = reply.status == 401 and reply.body["code"] == "invalid_api_key"
        said = problem_of(reply) if reply.status != 200 else "answered"
        show.step(f"POST /face/search {photo.name}", said, right=right, started_s=started_s)


async def _verify(show: Show, door: AsyncClient, photo: Path, user_id: str, *, expected: bool) -> None:
    title = f"POST /face/verify {photo.name} as {user_id}"
    started_s = time.perf_counter()
    reply = await door.call("POST", "/face/verify", photo=photo, fields={"user_id": user_id})
    if reply.status != 200:
        show.step(title, problem_of(reply), right=False, started_s=started_s)
        return
    body = reply.body
    verdict = "yes" if body["matched"] else "no"
    said = f"{verdict} ({body['confidence']:.2f} %), similarity {body['similarity']:.2f}"
    show.step(title, said, right=body["matched"] is expected, started_s=started_s)


async def _search_all(show: Show, door: AsyncClient, group: Path, user_id: str) -> None:
    """Of two faces the left one is known and the right one is not."""
    started_s = time.perf_counter()
    reply = await door.call("POST", "/face/search", photo=group, fields={"face": "all"})
    if reply.status != 200:
        show.step("POST /face/search face=all", problem_of(reply), right=False, started_s=started_s)
        return
    faces = sorted(reply.body["results"], key=lambda result: result["face"]["box"]["x"])
    found = [result["best"] and result["best"]["user_id"] for result in faces]
    labels = [label_of(result["best"]) for result in faces]
    show.step(
        "POST /face/search face=all, two people",
        "; ".join(labels),
        right=found == [user_id, None],
        started_s=started_s,
    )
    marks = [
        mark_of(result["face"], label, result["matched"]) for result, label in zip(faces, labels, strict=True)
    ]
    show.panels.append(Panel(group, marks))


def _side_by_side(left: Path, right: Path, target: Path) -> Path:
    """A picture of two people, made of a photo of each."""
    sides: list[Image.Image] = []
    for photo in (left, right):
        with Image.open(photo) as image:
            width_px = round(image.width * _GROUP_HEIGHT_PX / image.height)
            sides.append(image.convert("RGB").resize((width_px, _GROUP_HEIGHT_PX)))
    group = Image.new("RGB", (sum(side.width for side in sides), _GROUP_HEIGHT_PX))
    group.paste(sides[0], (0, 0))
    group.paste(sides[1], (sides[0].width, 0))
    group.save(target)
    return target
