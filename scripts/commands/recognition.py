"""`faceid enroll`, `search`, `verify` and `detect`: what is asked about photos."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from scripts.commands.photo_by_photo import Run
from scripts.commands.terminal import AsJson, Output, ProfileName, server

if TYPE_CHECKING:
    from faceid_client.shapes import Comparison, Face, FaceFound, Person, Search
    from scripts.drawing import Mark

Photos = Annotated[
    list[Path], typer.Argument(metavar="PHOTO...", help="JPEG or PNG.", exists=True, dir_okay=False)
]
Photo = Annotated[Path, typer.Argument(metavar="PHOTO", help="JPEG or PNG.", exists=True, dir_okay=False)]
Groups = Annotated[list[str] | None, typer.Option("--group", help="A group; may be given several times.")]
Threshold = Annotated[str | None, typer.Option(help="Confidence to ask for, in percent: 95, 95% or 0.95.")]
Device = Annotated[str | None, typer.Option(help="The device that took it, for the log.")]
Site = Annotated[str | None, typer.Option(help="Where it was taken, for the log.")]
Latitude = Annotated[float | None, typer.Option(min=-90, max=90, help="In degrees, north positive.")]
Longitude = Annotated[float | None, typer.Option(min=-180, max=180, help="In degrees, east positive.")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for the answer.", min=1)]
_PICTURE_TYPES = {".png", ".jpg", ".jpeg"}
_PICTURE_HEIGHT_PX = 720


def enroll(
    photos: Photos,
    user_id: Annotated[str, typer.Option("--user-id", help="Your own id of the person.")],
    name: Annotated[str | None, typer.Option(help="Full name.")] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="A tag; may be given several times.")
    ] = None,
    groups: Groups = None,
    reference_id: Annotated[
        str | None, typer.Option(help="Another id of the person, such as a badge number.")
    ] = None,
    reference_image: Annotated[
        Path | None,
        typer.Option(help="Photo of an ID card, to be compared first.", exists=True, dir_okay=False),
    ] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, may be given several times.")] = None,
    valid_until: Annotated[
        str | None, typer.Option(help="A date or time, in UTC unless told; from then on nobody is matched.")
    ] = None,
    consent: Annotated[
        str | None, typer.Option(help="The person has consented now, to this version of your text.")
    ] = None,
    wait_s: Wait = 60,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Enrol a person's face, from one photo or several."""
    person: Person = {}
    if name is not None:
        person["full_name"] = name
    if tags:
        person["tags"] = tags
    if groups:
        person["groups"] = groups
    if reference_id is not None:
        person["reference_id"] = reference_id
    if metadata:
        person["metadata"] = dict(_pair(text) for text in metadata)
    if valid_until is not None:
        person["valid_until"] = valid_until
    if consent is not None:
        now = datetime.now().astimezone()
        person["consent"] = {"text_version": consent, "given_at": now.isoformat()}
    run = Run(Output(as_json), Table("photo", "user", "name", "face", "", title=None))
    with server(profile) as faceid:

        def one(photo: Path) -> None:
            made = faceid.enroll(photo, user_id, reference_image=reference_image, wait_s=wait_s, **person)
            note = "was there already" if made["already_enrolled"] else ""
            note = "[yellow]resembles another user[/]" if made["flagged_duplicate"] else note
            full_name = escape(made["full_name"] or "")
            run.say(photo, made, [(escape(made["user_id"]), full_name, made["face_id"], note)])

        run.each(photos, "Enrolling", one)
    run.end()


def search(
    photos: Photos,
    threshold: Threshold = None,
    groups: Groups = None,
    limit: Annotated[int | None, typer.Option(help="How many candidates to name.", min=1, max=50)] = None,
    every: Annotated[bool, typer.Option("--all", help="Search for every face in the photo.")] = False,
    investigate: Annotated[
        bool, typer.Option("--investigate", help="Name those, too, who do not reach the threshold.")
    ] = False,
    device: Device = None,
    site: Site = None,
    latitude: Latitude = None,
    longitude: Longitude = None,
    picture: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the photos with boxes and names to this PNG or JPEG."),
    ] = None,
    wait_s: Wait = 60,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Who is this?

    The exit status is 0 if every photo was matched and 1 if one was not."""
    if picture is not None and picture.suffix.lower() not in _PICTURE_TYPES:
        raise typer.BadParameter("a picture ends in .png or .jpg", param_hint="--picture")
    if picture is not None and not picture.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {picture.parent}", param_hint="--picture")
    location = _location(device, site, latitude, longitude)
    run = Run(Output(as_json), Table("photo", "user", "name", "confidence", "similarity", title=None))
    found: list[tuple[Path, Search]] = []
    with server(profile) as faceid:

        def one(photo: Path) -> None:
            answer = faceid.search(
                photo,
                threshold=threshold,
                groups=groups or None,
                limit=limit,
                face="all" if every else "largest",
                investigate=investigate,
                location=location,
                wait_s=wait_s,
            )
            found.append((photo, answer))
            run.no = run.no or not answer["matched"]
            run.say(photo, answer, [row for face in _faces(answer) for row in _rows(face)])

        run.each(photos, "Searching", one)
    if picture is not None:
        _draw(found, picture)
    run.end()


def verify(
    photo: Photo,
    user_id: Annotated[str | None, typer.Option("--user-id", help="Is it this user?")] = None,
    other: Annotated[
        Path | None, typer.Option(help="Is it the person of this other photo?", exists=True, dir_okay=False)
    ] = None,
    threshold: Threshold = None,
    device: Device = None,
    site: Site = None,
    latitude: Latitude = None,
    longitude: Longitude = None,
    wait_s: Wait = 60,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Is this that user, or the person of that other photo?

    The exit status is 0 for yes and 1 for no."""
    if (user_id is None) == (other is None):
        raise typer.BadParameter("give --user-id or --other, one of them")
    run = Run(Output(as_json), Table("photo", "compared with", "same person", "confidence", "similarity"))
    with server(profile) as faceid:

        def one(photo: Path) -> None:
            answer = faceid.verify(
                photo,
                user_id=user_id,
                other_image=other,
                threshold=threshold,
                location=_location(device, site, latitude, longitude),
                wait_s=wait_s,
            )
            run.no = not answer["matched"]
            same = "[green]yes[/]" if answer["matched"] else "[red]no[/]"
            run.say(photo, answer, [(escape(user_id or str(other)), same, *_figures(answer))])

        run.each([photo], "Comparing", one)
    run.end()


def detect(photos: Photos, wait_s: Wait = 60, profile: ProfileName = None, as_json: AsJson = None) -> None:
    """Where are faces, and how good are they? Identifies nobody.

    The exit status is 1 if a photo has none."""
    run = Run(Output(as_json), Table("photo", "box", "certain", "width px", "sharpness", "yaw", "roll"))
    with server(profile) as faceid:

        def one(photo: Path) -> None:
            answer = faceid.detect(photo, wait_s=wait_s)
            run.no = run.no or not answer["faces"]
            run.say(photo, answer, [_seen(face) for face in answer["faces"]] or [("no face",)])

        run.each(photos, "Looking", one)
    run.end()


def _location(
    device: str | None, site: str | None, latitude: float | None, longitude: float | None
) -> dict[str, Any] | None:
    place = {"device_id": device, "site": site, "latitude": latitude, "longitude": longitude}
    return {name: value for name, value in place.items() if value is not None} or None


def _faces(answer: "Search") -> "Sequence[Search | FaceFound]":
    """What was found for each face, one face being a list of one."""
    return answer["results"] or [answer]


def _rows(face: "Search | FaceFound") -> list[tuple[str, ...]]:
    if not face["candidates"]:
        return [(f"[yellow]{face.get('code') or 'nobody we know'}[/]",)]
    return [
        (
            escape(one["user_id"]) if one["accepted"] else f"[yellow]{escape(one['user_id'])}?[/]",
            escape(one["full_name"] or ""),
            *_figures(one),
        )
        for one in face["candidates"]
    ]


def _figures(answer: "Comparison") -> tuple[str, str]:
    return f"{answer['confidence']:.2f} %", f"{answer['similarity']:.2f}"


def _seen(face: "Face") -> tuple[str, ...]:
    box, quality = face["box"], face["quality"]
    return (
        f"{box['x']:.0f},{box['y']:.0f} {box['width']:.0f}x{box['height']:.0f}",
        f"{100 * face['detection_confidence']:.1f} %",
        f"{quality['face_width_px']:.0f}",
        f"{quality['sharpness']:.1f}",
        f"{quality['yaw_degrees']:.0f}°",
        f"{quality['roll_degrees']:.0f}°",
    )


def _draw(found: Sequence[tuple[Path, "Search"]], picture: Path) -> None:
    from scripts.drawing import Panel, draw

    panels = [Panel(photo, [_mark(face) for face in _faces(answer)]) for photo, answer in found]
    if panels:
        draw(panels, picture, height_px=_PICTURE_HEIGHT_PX)


def _mark(face: "Search | FaceFound") -> "Mark":
    from scripts.drawing import Mark

    box, best = face["face"]["box"], face["best"]
    name = f"{best['full_name'] or best['user_id']} ({best['confidence']:.2f} %)" if best else None
    return Mark((box["x"], box["y"], box["width"], box["height"]), name or "nobody we know", bool(best))


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{text} is not KEY=VALUE", param_hint="--metadata")
    return key, value
