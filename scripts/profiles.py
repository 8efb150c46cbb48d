"""What `faceid login` keeps: a server's address, the authority to trust, and a credential, in a file that
only its owner reads (0600, in a folder 0700)."""

import asyncio
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from faceid_client import AsyncClient, FaceIdError

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NotLoggedIn(FaceIdError):
    """There is no credential: neither a profile that `faceid login` kept nor FACEID_API_KEY."""


@dataclass(frozen=True)
class Profile:
    """One server and one credential for it: an API key, or the tokens of a log-in."""

    name: str = DEFAULT
    url: str = ""
    ca_file: str | None = None
    api_key: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None

    @classmethod
    def find(cls, name: str | None = None, *, url: str | None = None, ca_file: str | None = None) -> Self:
        """The profile of this name (or FACEID_PROFILE, or `default`), with FACEID_URL, FACEID_CA_FILE and
        FACEID_API_KEY in place of what it says, and what is given here in place of both. Raises NotLoggedIn
        without address or credential."""
        name = name or os.environ.get("FACEID_PROFILE") or DEFAULT
        found = cls.load(name) or cls(name=name)
        api_key = os.environ.get("FACEID_API_KEY")
        url = url or os.environ.get("FACEID_URL")
        ca_file = ca_file or os.environ.get("FACEID_CA_FILE")
        if url and url.rstrip("/") != found.url.rstrip("/"):
            found = cls(name=name)  # A credential is for the server that it was given for, and no other.
        if api_key:
            found = replace(found, api_key=api_key, access_token=None, refresh_token=None)
        found = replace(found, url=url or found.url, ca_file=ca_file or found.ca_file)
        if not found.url or not (found.api_key or found.refresh_token):
            raise NotLoggedIn(
                f"Not logged in (profile {name}), and FACEID_URL and FACEID_API_KEY are not both set."
            )
        return found

    @classmethod
    def load(cls, name: str) -> Self | None:
        """The profile as it is kept, None if there is none. Raises NotLoggedIn if others can read it."""
        path = _path(name)
        try:
            with path.open(encoding="utf-8") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise NotLoggedIn(
                        f"Others can read {path}: change the password or key, and log in again."
                    )
                return cls(**json.load(file))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise NotLoggedIn(f"{path} is damaged. Log in again.") from None

    def save(self) -> Path:
        """Keep it, whole or not at all; answers where."""
        path = _path(self.name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        descriptor, partial = tempfile.mkstemp(
            dir=path.parent, prefix=f".{self.name}-"
        )  # 0600 from the start
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(self), file)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        return path

    def forget(self) -> None:
        """Remove what is kept of it."""
        _path(self.name).unlink(missing_ok=True)


class ProfileClient(AsyncClient):
    """A client with a profile's credential: all who use the profile share its tokens."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile.url, ca_file=profile.ca_file, api_key=profile.api_key)
        self._profile = profile
        self.token, self.refresh_token = profile.access_token, profile.refresh_token

    async def renew(self) -> bool:
        """The token that another command has fetched meanwhile, or a new one."""
        with ExitStack() as alone:
            await asyncio.to_thread(alone.enter_context, _locked(self._profile.name))
            kept = Profile.load(self._profile.name)
            if kept is not None and kept.url == self._profile.url and kept.access_token != self.token:
                self.token, self.refresh_token = kept.access_token, kept.refresh_token
                return True
            renewed = await super().renew()
            if renewed:
                tokens = {"access_token": self.token, "refresh_token": self.refresh_token}
                await asyncio.to_thread(replace(self._profile, **tokens).save)
            return renewed


@contextmanager
def _locked(name: str) -> Generator[None]:
    """Alone with the profile: a refresh token works once, so two commands must not send the same one."""
    path = _path(name).with_suffix(".lock")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise NotLoggedIn("A profile's name is of letters, digits, - and _.")
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "faceid" / f"{name}.json"
