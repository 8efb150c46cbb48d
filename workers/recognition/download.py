"""Fetches a weights file from an address that the operator named."""

import os
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Final

from workers.recognition.weights import WeightsError

_TIMEOUT_S: Final = 60
_MAX_BYTES: Final = 512 * 1024 * 1024

Report = Callable[[str], None]
"""Is told in words what is being done."""


def download(url: str, folder: Path, report: Report) -> Path:
    """Fetch a file over https into `folder`, whole or not at all. Raises `WeightsError`."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https":
        raise WeightsError("The address of the weights must begin with https://.")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / Path(parts.path).name
    partial = folder / f".{target.name}.{os.getpid()}"
    report(f"Downloading {target.name} ...")
    try:
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response,  # noqa: S310 - https, see above
            partial.open("wb") as file,
        ):
            if urllib.parse.urlsplit(str(response.url)).scheme != "https":
                raise WeightsError(f"The address of {target.name} leads away from https. Name another one.")
            received = 0
            while block := response.read(1 << 20):
                received += len(block)
                if received > _MAX_BYTES:
                    raise WeightsError(f"{target.name} is larger than weights can be.")
                file.write(block)
            expected = response.headers.get("Content-Length")
        if expected is not None and received != int(expected):
            raise WeightsError(f"The download of {target.name} was cut off. Try again.")
        partial.replace(target)
    except (OSError, HTTPException) as error:
        raise WeightsError(
            f"{target.name} could not be downloaded. Try again, or name a file in the settings."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target
