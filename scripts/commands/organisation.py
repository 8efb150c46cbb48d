"""`faceid members`, `keys` and `company`: who may do what, and how the company decides."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer
from rich.markup import escape

from scripts.commands.terminal import AsJson, Exit, Limit, Output, ProfileName, Sure, complain, server, sure

if TYPE_CHECKING:
    from faceid_client import Client

members = typer.Typer(help="The people who log in.", no_args_is_help=True)
keys = typer.Typer(help="API keys, for machines.", no_args_is_help=True)
company = typer.Typer(help="The company and its policies.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(metavar="EMAIL")]
_SCOPES: Final = (
    "A scope, of faces:read, faces:write, faces:photos, search, search:investigate and logs:read; "
    "may be given several times."
)
_KEEP_KEY: Final = "Keep the api_key: it is not shown again."

Role = Annotated[str, typer.Option(help="admin, staff or auditor.")]
KeyId = Annotated[str, typer.Argument(metavar="KEY_ID")]


@members.command("list")
def list_members(limit: Limit = 50, profile: ProfileName = None, as_json: AsJson = None) -> None:
    """List the members."""
    with server(profile) as faceid:
        columns = ("member_id", "email", "name", "role", "state", "created_at")
        Output(as_json).listing(faceid.pages("/members", {}), columns, limit=limit)


@members.command()
def invite(
    email: Email,
    role: Role = "staff",
    name: Annotated[str | None, typer.Option(help="Full name.")] = None,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Add a member; prints the token with which they set their password, once."""
    with server(profile) as faceid:
        body = {"email": email, "role": role, "name": name}
        made = faceid.request("POST", "/members", json=body).body
        Output(as_json).record(made, _token_for(email, faceid))


@members.command("set-role")
def set_role(email: Email, role: Role, profile: ProfileName = None, as_json: AsJson = None) -> None:
    """Change what a member may do."""
    with server(profile) as faceid:
        changed = faceid.request("PATCH", f"/members/{_member(faceid, email)}", json={"role": role})
        Output(as_json).record(changed.body)


@members.command()
def remove(email: Email, yes: Sure = False, profile: ProfileName = None, as_json: AsJson = None) -> None:
    """Remove a member; their sessions end at once."""
    sure(f"Remove {email}?", yes)
    with server(profile) as faceid:
        faceid.request("DELETE", f"/members/{_member(faceid, email)}")
    Output(as_json).said(f"{email} is removed.", {"email": email, "removed": True})


@members.command("reset-password")
def reset_password(
    email: Email,
    local: Annotated[
        bool,
        typer.Option("--local", help="On the server's machine, with the service stopped: needs no log-in."),
    ] = False,
    yes: Sure = False,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Take a member's password away; prints the token with which they set a new one, once."""
    sure(f"Make the password of {email} void?", yes)
    if local:
        from scripts.commands.recovery import reset_on_this_machine

        Output(as_json).record(reset_on_this_machine(email))
        return
    with server(profile) as faceid:
        body = {"reset_password": True}
        changed = faceid.request("PATCH", f"/members/{_member(faceid, email)}", json=body)
        Output(as_json).record(changed.body, _token_for(email, faceid))


@keys.command("list")
def list_keys(limit: Limit = 50, profile: ProfileName = None, as_json: AsJson = None) -> None:
    """List the keys; none of them can be read again."""
    with server(profile) as faceid:
        columns = ("key_id", "name", "scopes", "groups", "expires_at", "created_at")
        Output(as_json).listing(faceid.pages("/api-keys", {}), columns, limit=limit)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scopes: Annotated[list[str], typer.Option("--scope", help=_SCOPES)],
    groups: Annotated[
        list[str] | None,
        typer.Option("--group", help="Bind it to users of this group; may be given several times."),
    ] = None,
    expires_at: Annotated[str | None, typer.Option(help="When it stops working: a date or time.")] = None,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Make a key, and print it, once."""
    body: dict[str, Any] = {"name": name, "scopes": scopes}
    body |= {"groups": groups} if groups else {}
    body |= {"expires_at": expires_at} if expires_at else {}
    with server(profile) as faceid:
        Output(as_json).record(faceid.request("POST", "/api-keys", json=body).body, _KEEP_KEY)


@keys.command()
def rotate(
    key_id: KeyId,
    overlap_s: Annotated[
        int | None,
        typer.Option(help="For how many seconds the old one works on: a day, unless told; 0 after a leak."),
    ] = None,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Make a new key in place of one that works on for a while, and print it, once."""
    body = {} if overlap_s is None else {"overlap_s": overlap_s}
    with server(profile) as faceid:
        path = f"/api-keys/{quote(key_id, safe='')}/rotate"
        Output(as_json).record(faceid.request("POST", path, json=body).body, _KEEP_KEY)


@keys.command()
def revoke(key_id: KeyId, yes: Sure = False, profile: ProfileName = None, as_json: AsJson = None) -> None:
    """Make a key stop working at once."""
    sure("Revoke the key?", yes)
    with server(profile) as faceid:
        faceid.request("DELETE", f"/api-keys/{quote(key_id, safe='')}")
    Output(as_json).said("The key is revoked.", {"key_id": key_id, "revoked": True})


@company.command("show")
def show_company(profile: ProfileName = None, as_json: AsJson = None) -> None:
    """Show the policies, and the operating point that they give."""
    with server(profile) as faceid:
        Output(as_json).record(faceid.get("/company"))


@company.command("set")
def set_company(
    changes: Annotated[
        list[str], typer.Argument(metavar="PATH=VALUE...", help="Like policies.match.max_fpir=0.001.")
    ],
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Change policies; what is not named stays."""
    body: dict[str, Any] = {}
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals or not all(path.split(".")):
            raise typer.BadParameter(f"{change} is not PATH=VALUE")
        inner = body
        *outer, last = path.split(".")
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = _value(text)
    with server(profile) as faceid:
        Output(as_json).record(faceid.request("PATCH", "/company", json=body).body)


def _token_for(email: str, faceid: "Client") -> str:
    return (
        f"Give the set_password_token to {escape(email)}, who pastes it into:"
        f" faceid password --token --url {faceid.url}"
    )


def _member(faceid: "Client", email: str) -> str:
    for member in faceid.pages("/members", {}):
        if member["email"].casefold() == email.casefold():
            return quote(member["member_id"], safe="")
    complain(f"No member has the e-mail address {email}.")
    raise typer.Exit(Exit.REFUSED)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
