"""`faceid register`, `login`, `logout` and `password`: who somebody is to a server."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from scripts.commands.terminal import AsJson, Output, ProfileName, complain, explained, server

if TYPE_CHECKING:
    from faceid_client import Client

_HERE = "https://127.0.0.1:8443"

Url = Annotated[str | None, typer.Option(envvar="FACEID_URL", help="Address of the server.")]
Authority = Annotated[
    Path | None,
    typer.Option(
        "--ca", envvar="FACEID_CA_FILE", dir_okay=False, exists=True, help="The authority to trust."
    ),
]


def register(
    company: Annotated[str | None, typer.Option(help="Name of the company.")] = None,
    email: Annotated[str | None, typer.Option(help="Your e-mail address.")] = None,
    url: Url = None,
    ca: Authority = None,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Make a company with you as its first admin, and log in.

    The password is asked for, or read from standard input.
    """
    address = _asked("Server", url, _HERE)
    name, owner = _asked("Company", company), _asked("E-mail", email)
    with explained():
        password = _secret("Password", new=True)
        with _client(address, ca) as client:
            client.register(name, owner, password)
            client.login(owner, password)
            _keep(client, ca, profile, None, f"{name} is registered. Logged in as {owner}.", as_json)


def login(
    url: Url = None,
    email: Annotated[str | None, typer.Option(help="Log in as this member.")] = None,
    ca: Authority = None,
    api_key: Annotated[
        bool, typer.Option("--api-key", help="Use an API key: asked for, or FACEID_API_KEY.")
    ] = False,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Log in, and keep address, trust and credential for the other commands.

    Password or key are asked for, or read from standard input.

    They are never given on the command line, where others could see them.
    """
    address = _asked("Server", url, _HERE)
    with explained():
        if api_key:
            key = os.environ.get("FACEID_API_KEY") or _secret("API key")
            with _client(address, ca, key) as client:
                client.get("/jobs", correlation_id="login", limit="1")  # Whether the key is one.
                _keep(client, ca, profile, key, f"Logged in to {client.url}.", as_json)
            return
        member = _asked("E-mail", email)
        password = _secret("Password")
        with _client(address, ca) as client:
            client.login(member, password)
            _keep(client, ca, profile, None, f"Logged in to {client.url} as {member}.", as_json)


def logout(profile: ProfileName = None, as_json: AsJson = None) -> None:
    """End the session, and forget its credential."""
    from faceid_client import Client, FaceIdError
    from scripts.profiles import DEFAULT, Profile, ProfileClient

    with explained():
        kept = Profile.load(profile or DEFAULT)
        if kept is None:
            Output(as_json).said("Was not logged in.", {"forgotten": False})
            return
        try:
            if kept.refresh_token:
                with Client.over(ProfileClient(kept)) as client:
                    client.logout()
        except FaceIdError as error:
            complain(f"The server was not told: {error}")
        finally:
            kept.forget()
    Output(as_json).said("Logged out.", {"forgotten": True})


def password(
    token: Annotated[
        bool, typer.Option("--token", help="With the token of an invitation or a reset, not logged in.")
    ] = False,
    url: Url = None,
    ca: Authority = None,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Change your password, or set the first one.

    What is asked for may be piped in, a line each."""
    with explained():
        proof = {"token": _secret("Token")} if token else {"current_password": _secret("Present password")}
        body = {**proof, "new_password": _secret("New password", new=True)}
        with _client(url or _HERE, ca) if token else server(profile) as client:
            client.request("POST", "/me/password", json=body)
    Output(as_json).said("The password is set.", {"changed": True})


def _client(url: str, ca: Path | None, api_key: str | None = None) -> "Client":
    from faceid_client import Client

    return Client(url, ca_file=_authority(url, ca), api_key=api_key)


def _keep(
    client: "Client", ca: Path | None, profile: str | None, key: str | None, words: str, as_json: bool | None
) -> None:
    """What the client has proved, for the other commands."""
    from scripts.profiles import DEFAULT, Profile

    kept = Profile(
        name=profile or DEFAULT,
        url=client.url,
        ca_file=_authority(client.url, ca),
        api_key=key,
        access_token=client.asynchronous.token,
        refresh_token=client.asynchronous.refresh_token,
    )
    path = kept.save()
    told = {"url": kept.url, "profile": kept.name, "file": str(path)}
    Output(as_json).said(f"{words} Kept in {path}, for you alone.", told)


def _asked(what: str, given: str | None, default: str | None = None) -> str:
    return given or typer.prompt(what, default=default, err=True)


def _secret(what: str, *, new: bool = False) -> str:
    """Asked for without showing it, a new one twice; or the next line of what is piped in."""
    if sys.stdin.isatty():
        return typer.prompt(what, hide_input=True, confirmation_prompt=new, err=True)
    secret = sys.stdin.readline().strip()
    if not secret:
        complain(
            f"Give the {what[0].lower() if what[1:2].islower() else what[0]}{what[1:]} on standard input."
        )
        raise typer.Exit(2)
    return secret


def _authority(url: str, given: Path | None) -> str | None:
    """What is given; else, for an address on this machine, the authority of the service on it."""
    from infra.settings import Settings

    if given is not None:
        return str(given.resolve())
    file = Settings().tls_dir / "ca.pem"
    here = urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"} and file.exists()
    return str(file.resolve()) if here else None
