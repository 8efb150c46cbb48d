"""`faceid login` and `faceid logout`."""

import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from scripts.commands.terminal import AsJson, Output, ProfileName, complain, explained, server

_HERE = "https://127.0.0.1:8443"


def login(
    url: Annotated[str | None, typer.Option(envvar="FACEID_URL", help="Address of the server.")] = None,
    email: Annotated[str | None, typer.Option(help="Log in as this member.")] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", envvar="FACEID_CA_FILE", dir_okay=False, exists=True, help="The authority to trust."
        ),
    ] = None,
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
    from faceid_client import Client
    from scripts.profiles import DEFAULT, Profile

    asked: str = url or typer.prompt("Server", default=_HERE, err=True)
    url = asked.rstrip("/")
    authority = ca or _own_authority(url)
    ca_file = str(authority.resolve()) if authority else None
    name, key = profile or DEFAULT, None
    with explained():
        if api_key:
            key = os.environ.get("FACEID_API_KEY") or _secret("API key")
        else:
            email = email or typer.prompt("E-mail", err=True)
        with Client(url, ca_file=ca_file, api_key=key) as client:
            if key is None:
                client.login(email or "", _secret("Password"))
            else:
                client.get("/jobs", correlation_id="login", limit="1")  # Whether the key is one.
            kept = Profile(
                name=name,
                url=url,
                ca_file=ca_file,
                api_key=key,
                access_token=client.asynchronous.token,
                refresh_token=client.asynchronous.refresh_token,
            )
            path = kept.save()
    Output(as_json).said(
        f"Logged in to {url}{'' if key else f' as {email}'}. Kept in {path}, for you alone.",
        {"url": url, "profile": name, "file": str(path)},
    )


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
    url: Annotated[
        str, typer.Option(envvar="FACEID_URL", help="Address of the server, with --token.")
    ] = _HERE,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", envvar="FACEID_CA_FILE", dir_okay=False, exists=True, help="The authority to trust."
        ),
    ] = None,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Change your password, or set the first one.

    What is asked for may be piped in, a line each."""
    from faceid_client import Client

    with explained():
        proof = {"token": _secret("Token")} if token else {"current_password": _secret("Present password")}
        body = {**proof, "new_password": _secret("New password")}
        if token:
            authority = ca or _own_authority(url)
            with Client(url.rstrip("/"), ca_file=authority) as client:
                client.request("POST", "/me/password", json=body)
        else:
            with server(profile) as client:
                client.request("POST", "/me/password", json=body)
    Output(as_json).said("The password is set.", {"changed": True})


def _secret(what: str) -> str:
    """Asked for without showing it, or the first line of what is piped in."""
    if sys.stdin.isatty():
        return typer.prompt(what, hide_input=True, err=True)
    secret = sys.stdin.readline().strip()
    if not secret:
        complain(
            f"Give the {what[0].lower() if what[1:2].islower() else what[0]}{what[1:]} on standard input."
        )
        raise typer.Exit(2)
    return secret


def _own_authority(url: str) -> Path | None:
    """The authority of the service on this machine, for an address on this machine."""
    from infra.settings import Settings

    file = Settings().tls_dir / "ca.pem"
    return file if urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"} and file.exists() else None
