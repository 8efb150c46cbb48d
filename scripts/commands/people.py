"""`faceid users` and `faceid faces`: who is enrolled, and with what."""

from typing import Annotated, Any

import typer

from scripts.commands.terminal import AsJson, Limit, Output, ProfileName, Sure, server, sure

users = typer.Typer(help="The people who are enrolled.", no_args_is_help=True)
faces = typer.Typer(help="Their faces.", no_args_is_help=True)

UserId = Annotated[str, typer.Argument(metavar="USER_ID")]
FaceId = Annotated[str, typer.Argument(metavar="FACE_ID")]
Tag = Annotated[str | None, typer.Option(help="Only with this tag.")]
Group = Annotated[str | None, typer.Option(help="Only of this group.")]
Reference = Annotated[str | None, typer.Option("--reference-id", help="Only with this reference id.")]


@users.command("list")
def list_users(
    name: Annotated[str | None, typer.Option(help="Only of this whole name, in any letter case.")] = None,
    tag: Tag = None,
    group: Group = None,
    reference_id: Reference = None,
    limit: Limit = 50,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """List people, newest first."""
    which = {"full_name": name, "tag": tag, "group": group, "reference_id": reference_id}
    columns = ("user_id", "full_name", "groups", "tags", "created_at")
    _list("/users", which, columns, limit, profile, as_json)


@users.command("show")
def show_user(user_id: UserId, profile: ProfileName = None, as_json: AsJson = None) -> None:
    """Show what is known of a person."""
    with server(profile) as faceid:
        Output(as_json).record(faceid.user(user_id))


@users.command("delete")
def delete_user(
    user_id: UserId, yes: Sure = False, profile: ProfileName = None, as_json: AsJson = None
) -> None:
    """Erase a person for good: faces, photos, and their traces in the log."""
    sure(f"Erase {user_id} for good?", yes)
    with server(profile) as faceid:
        faceid.delete_user(user_id)
    Output(as_json).said(f"{user_id} is erased.", {"user_id": user_id, "deleted": True})


@faces.command("list")
def list_faces(
    user_id: Annotated[str | None, typer.Option("--user-id", help="Only of this user.")] = None,
    tag: Tag = None,
    group: Group = None,
    reference_id: Reference = None,
    limit: Limit = 50,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """List faces, newest first."""
    which = {"user_id": user_id, "tag": tag, "group": group, "reference_id": reference_id}
    columns = ("face_id", "user_id", "full_name", "has_photo", "created_at")
    _list("/faces", which, columns, limit, profile, as_json)


@faces.command("show")
def show_face(face_id: FaceId, profile: ProfileName = None, as_json: AsJson = None) -> None:
    """Show a face: whose it is, and how good."""
    with server(profile) as faceid:
        Output(as_json).record(faceid.face(face_id))


@faces.command("delete")
def delete_face(
    face_id: FaceId, yes: Sure = False, profile: ProfileName = None, as_json: AsJson = None
) -> None:
    """Delete one face; the person stays."""
    sure(f"Delete the face {face_id}?", yes)
    with server(profile) as faceid:
        faceid.delete_face(face_id)
    Output(as_json).said("The face is deleted.", {"face_id": face_id, "deleted": True})


def _list(
    path: str,
    which: dict[str, Any],
    columns: tuple[str, ...],
    limit: int,
    profile: str | None,
    as_json: bool | None,
) -> None:
    with server(profile) as faceid:
        Output(as_json).listing(faceid.pages(path, which), columns, limit=limit)
