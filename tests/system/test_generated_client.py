"""What a stranger gets who generates a client from /openapi.json: typed, and working against the service."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faceid_client import AsyncClient
from infra.settings import Settings
from scripts.photos import Photos
from scripts.service_process import ServiceProcess
from tests.system.client_generator import Generator, prepare_generator, run

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

PROGRAM = '''\
"""What a user of the generated client writes: register, log in, enrol, search, read the log."""

import json
import ssl
import sys
from pathlib import Path
from typing import TypeVar

from generated import AuthenticatedClient, Client
from generated.api.accounts import accounts_login, accounts_register
from generated.api.faces import faces_show
from generated.api.logs import logs_index
from generated.api.recognition import recognition_enroll, recognition_search
from generated.models import (
    EnrolForm,
    EnrolResult,
    FaceAnswer,
    Location,
    LoginRequest,
    LogPage,
    Problem,
    RegisterAnswer,
    RegisterRequest,
    SearchForm,
    SearchResult,
    TokenAnswer,
)
from generated.types import File

T = TypeVar("T")

EMAIL, PASSWORD = "ada@example.com", "a long enough password"


def read(answer: object, kind: type[T]) -> T:
    """The answer as what it should be."""
    if not isinstance(answer, kind):
        sys.exit(f"expected {kind.__name__}, got {answer}")
    return answer


def photo(path: str) -> File:
    return File(payload=Path(path).open("rb"), file_name="photo.jpg", mime_type="image/jpeg")


def main(url: str, ca_file: str, enrolled: str, probe: str, cat: str) -> None:
    trust = ssl.create_default_context(cafile=ca_file)
    stranger = Client(base_url=url, verify_ssl=trust, raise_on_unexpected_status=True)
    account = RegisterRequest(company_name="Example Ltd", email=EMAIL, password=PASSWORD)
    company = read(accounts_register.sync(client=stranger, body=account), RegisterAnswer)
    login = LoginRequest(email=EMAIL, password=PASSWORD)
    tokens = read(accounts_login.sync(client=stranger, body=login), TokenAnswer)

    client = AuthenticatedClient(
        base_url=url, token=tokens.access_token, verify_ssl=trust, raise_on_unexpected_status=True
    )
    person = EnrolForm(image=photo(enrolled), user_id="u-1", full_name="Barack Obama", tags=["a", "b"])
    face = read(recognition_enroll.sync(client=client, body=person, prefer="wait=60"), EnrolResult)
    shown = read(faces_show.sync(face.face_id, client=client), FaceAnswer)
    question = SearchForm(image=photo(probe), location=Location(device_id="door-1"))
    found = read(recognition_search.sync(client=client, body=question, prefer="wait=60"), SearchResult)
    refused = read(
        recognition_search.sync(client=client, body=SearchForm(image=photo(cat)), prefer="wait=60"), Problem
    )
    log = read(logs_index.sync(client=client, user_id="u-1"), LogPage)
    best = found.best
    print(
        json.dumps(
            {
                "company_id": str(company.company_id),
                "tags": shown.tags,
                "same_face": best is not None and best.face_id == face.face_id,
                "name": best.full_name if best is not None else None,
                "sure": best is not None and best.confidence >= found.threshold,
                "refused": refused.code,
                "log": [entry.outcome for entry in log.items],
                "newest_at": log.items[0].time.isoformat(),
            }
        )
    )


main(*sys.argv[1:])
'''


@pytest.fixture
async def generator() -> Generator:
    return await prepare_generator(Settings().cache_dir)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    service = ServiceProcess(tmp_path / "home", tmp_path / "serve.log")
    await service.start()
    yield service
    assert await service.stop() == 0


async def test_a_generated_client_type_checks_enrols_and_searches(
    service: ServiceProcess, generator: Generator, photos: Photos, tmp_path: Path
) -> None:
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        document = (await api.call("GET", "/openapi.json")).body
    await generator.generate(document, tmp_path, "generated")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")

    # A project of its own: neither our rules nor our packages count. What the generator writes whatever the
    # document says (`client.py`) has mistakes of its own.
    rules = {"include": ["program.py", "generated/api", "generated/models"], "strict": ["program.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(rules), encoding="utf-8")
    checker = (sys.executable, "-m", "pyright", "--pythonpath", str(generator.python))
    said = await run(*checker, "--outputjson", "--project", str(tmp_path))
    summary = json.loads(said)["summary"]
    assert summary["filesAnalyzed"] > 50
    assert summary["errorCount"] == 0

    first, _, third = photos.people["Barack Obama"]
    files = (service.ca_file, first, third, photos.no_face)
    output = await run(str(generator.python), str(program), service.url, *map(str, files))
    told = json.loads(output)
    assert told.pop("company_id")
    assert told.pop("newest_at").endswith("+00:00")
    assert told == {
        "tags": ["a", "b"],
        "same_face": True,
        "name": "Barack Obama",
        "sure": True,
        "refused": "no_face",
        "log": ["matched", "enrolled"],
    }
