"""A whole ingress over the real embedded stores, served over HTTPS, with a client and a worker without a
model."""

import io
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from infra.clock import Clock, SystemClock
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.opening import open_services
from infra.repositories.changing import replaced_record
from infra.repositories.collections import FACES, MEMBERS
from infra.seen import Seen
from infra.services import Services
from infra.settings import Settings
from infra.tls.authority import AuthorityFolder
from infra.tls.hosts import PublicHosts
from infra.tls.leaf import LocalCertificate
from ingress.auth import Authenticator, Identity
from ingress.server import serve_ingress
from schemas.access import Role, Scope
from schemas.ids import PLATFORM
from schemas.policies import CompanySettings
from schemas.recognition import Engine, ModelStamp
from schemas.records import Member
from tests.calibration import CALIBRATION
from tests.ingress.conformance import check_answer
from tests.ingress.worker import Worker
from tests.stores import Servers

PASSWORD = "correct horse battery"
MODEL = ModelStamp(id="test", version="1")
ENGINE = Engine(name="made up 1", device="cpu", precision="f32")


def jpeg(width_px: int = 64, height_px: int = 48) -> bytes:
    """A small photo of nobody."""
    photo = io.BytesIO()
    Image.new("RGB", (width_px, height_px), "grey").save(photo, "JPEG")
    return photo.getvalue()


@pytest.fixture(scope="session")
def tls_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local authority and a certificate for loopback."""
    folder = tmp_path_factory.mktemp("tls")
    hosts = PublicHosts.parse(())
    AuthorityFolder(folder).set_up(hosts, SystemClock())
    LocalCertificate(folder, hosts, SystemClock()).current()
    return folder


@pytest.fixture(autouse=True)
def impatient_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is refused and goes on sending holds no test up."""
    monkeypatch.setattr("ingress.server._LINGER_S", 0.1)


@pytest.fixture
def clock() -> Clock:
    """The machine's; a module that needs to decide the time has its own."""
    return SystemClock()


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Settings that differ for a module or test."""
    return {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on the stores that `--stores` asks for."""
    if "stores" not in metafunc.fixturenames:
        return
    asked, marks = metafunc.config.getoption("--stores"), {m.name for m in metafunc.definition.iter_markers()}
    on_servers = asked == "distributed" or (asked == "both" and "on_servers" in marks)
    chosen: list[Any] = ["embedded"] if asked != "distributed" or "embedded" in marks else []
    if on_servers and "embedded" not in marks:
        chosen.append(pytest.param("distributed", marks=pytest.mark.system))
    metafunc.parametrize(
        "stores", chosen, scope="session", ids=lambda name: None if name == "embedded" else name
    )


@pytest.fixture
def servers(stores: str, request: pytest.FixtureRequest) -> Servers | None:
    """Those that the test runs on; None for embedded stores."""
    return request.getfixturevalue("real_servers") if stores == "distributed" else None


@pytest.fixture
def settings(tmp_path: Path, overrides: Mapping[str, Any], servers: Servers | None) -> Iterator[Settings]:
    given: dict[str, Any] = {
        "data_dir": tmp_path / "data",
        "master_key_file": tmp_path / "keys" / "master.key",
        "key_store": f"file:{tmp_path / 'keys' / 'companies'}",
        "listen": "127.0.0.1:0",
        "drain_s": 5,
    }
    on_servers: Mapping[str, Any] = servers.settings if servers is not None else {}
    yield Settings(**{**given, **on_servers, **overrides})
    if servers is not None:
        servers.forget()


@pytest.fixture
async def services(settings: Settings, clock: Clock) -> AsyncGenerator[Services]:
    """The real stores in a folder of the test's."""
    master = MasterKey.create(settings.master_key_file)
    await open_key_store(settings.key_store).initialise(master.fingerprint)
    async with open_services(settings, MODEL, CALIBRATION, clock) as services:
        yield services


@pytest.fixture
async def worker(services: Services) -> AsyncGenerator[Worker]:
    """Ends every job at once, unless the test tells it otherwise."""
    async with Worker(services).at_work() as worker:
        yield worker


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    body: Any

    @property
    def code(self) -> str | None:
        """The code of a problem; None for anything else."""
        problem = self.headers.get("Content-Type", "").startswith("application/problem+json")
        return self.body["code"] if problem else None


@dataclass
class Client:
    """Calls the API, and holds each answer against the OpenAPI document."""

    http: aiohttp.ClientSession
    base_url: str
    port: int
    services: Services
    token: str | None = None
    api_key: str | None = None
    refresh_token: str = ""
    company_id: UUID = PLATFORM
    parts: dict[str, str] = field(default_factory=dict[str, str])
    """What the host's readiness check answers."""

    async def call(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if self.api_key is not None:
            given["X-API-Key"] = self.api_key
        async with self.http.request(
            method, f"{self.base_url}{path}", headers={**given, **(headers or {})}, **options
        ) as response:
            content = await response.read()
            body = (
                await response.json(content_type=None) if _is_json(response.content_type, content) else None
            )
        check_answer(method, path, response.status, response.headers, body, content=content)
        return Answer(response.status, response.headers, content, body)

    async def register(self, email: str = "ada@example.org", password: str = PASSWORD) -> "Client":
        """A company with an admin who is logged in; answers a client that is theirs."""
        answer = await self.call(
            "POST", "/register", json={"company_name": "Acme", "email": email, "password": password}
        )
        assert answer.status == 201, answer.body
        client = self.fresh()
        client.company_id = UUID(answer.body["company_id"])
        return await client.login(email, password)

    def fresh(self) -> "Client":
        """A client of the same ingress and company, without a credential."""
        return Client(self.http, self.base_url, self.port, self.services, company_id=self.company_id)

    async def add_member(self, email: str, role: Role) -> "Client":
        """Invite a member, who sets a password and logs in; answers a client that is theirs."""
        invited = await self.call("POST", "/members", json={"email": email, "role": role})
        assert invited.status == 201, invited.body
        body = {"token": invited.body["set_password_token"], "new_password": PASSWORD}
        assert (await self.fresh().call("POST", "/me/password", json=body)).status == 204
        return await self.fresh().login(email)

    async def add_key(self, *scopes: Scope, **options: Any) -> "Client":
        """Make an API key; answers a client that signs with it."""
        added = await self.call("POST", "/api-keys", json={"name": "door", "scopes": scopes, **options})
        assert added.status == 201, added.body
        client = self.fresh()
        client.api_key = added.body["api_key"]
        return client

    async def login(self, email: str = "ada@example.org", password: str = PASSWORD) -> "Client":
        """Log in; later calls are this account's."""
        answer = await self.call("POST", "/login", json={"email": email, "password": password})
        assert answer.status == 200, answer.body
        self.token, self.refresh_token = answer.body["access_token"], answer.body["refresh_token"]
        return self

    async def become(self, role: Role) -> "Client":
        """Give the member whose token this is another role."""
        member_id = (await self.services.documents.find(MEMBERS, self.company_id)).items[0].id
        member = await self.services.documents.get(MEMBERS, self.company_id, member_id)
        assert isinstance(member, Member)
        changed = member.model_copy(update={"role": role})
        assert await replaced_record(self.services.documents, MEMBERS, self.company_id, member, changed)
        return self

    async def enrol(self, user_id: str = "ada", **options: Any) -> Answer:
        """Enrol a photo of nobody."""
        return await self.call("POST", "/face/enroll", data=form(user_id=user_id), **options)

    async def search(
        self, photo: bytes | None = None, *, headers: Mapping[str, str] | None = None, **fields: str
    ) -> Answer:
        """Search with a photo of nobody."""
        return await self.call("POST", "/face/search", data=form(photo, **fields), headers=headers)


@pytest.fixture
def calls_as(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Whoever calls from now on is taken for this: fields of `Identity`, in place of their own."""
    identify = Authenticator.identify

    def calls_as(**fields: Any) -> None:
        async def taken(self: Authenticator, request: web.Request) -> Identity:
            return replace(await identify(self, request), **fields)

        monkeypatch.setattr(Authenticator, "identify", taken)

    return calls_as


def _is_json(content_type: str, content: bytes) -> bool:
    return bool(content) and content_type.endswith("json") and "nd" not in content_type


def form(photo: bytes | None = None, **fields: str) -> aiohttp.FormData:
    """A form with a photo first and fields after it."""
    data = aiohttp.FormData()
    data.add_field("image", photo or jpeg(), filename="photo.jpg", content_type="image/jpeg")
    for name, value in fields.items():
        data.add_field(name, value)
    return data


@pytest.fixture
async def stranger(services: Services, tls_folder: Path) -> AsyncGenerator[Client]:
    """A client without a credential, of a running ingress."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_folder / "server.pem")
    trust = ssl.create_default_context(cafile=tls_folder / "ca.pem")
    parts: dict[str, str] = {}

    async def readiness() -> Seen:
        return Seen(parts, (ENGINE,))

    ingress = await serve_ingress(services, context, readiness)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as http:
            yield Client(http, f"https://127.0.0.1:{ingress.port}", ingress.port, services, parts=parts)
    finally:
        await ingress.stop()


@pytest.fixture
async def client(stranger: Client, worker: Worker) -> Client:
    """A company's admin, logged in, with a worker at work."""
    return await stranger.register()


def keeping_photos(keep: bool) -> Callable[[CompanySettings], CompanySettings]:
    """A change of policy."""

    def changed(settings: CompanySettings) -> CompanySettings:
        retention = settings.policies.retention.model_copy(update={"keep_photos": keep})
        policies = settings.policies.model_copy(update={"retention": retention})
        return settings.model_copy(update={"policies": policies})

    return changed


async def keep_photo(client: Client, face_id: str, photo: bytes, kind: str = "photo_key") -> str:
    """Keep a face's photo, as the face worker does for a company that keeps photos; where it is kept."""
    services, company_id = client.services, client.company_id
    await services.companies.configure(company_id, keeping_photos(True))
    photo_key = f"photos/{face_id}.{kind}"
    key = await services.keys.get(company_id)
    await services.objects.put(company_id, photo_key, key.seal_photo(photo_key, photo))
    record = await services.faces.get(company_id, UUID(face_id))
    assert record is not None
    kept = record.model_copy(update={kind: photo_key})
    assert await replaced_record(services.documents, FACES, company_id, record, kept)
    return photo_key


async def user_ids(client: Client, url: str) -> list[str]:
    """The user ids of a listing, of all its pages."""
    ids: list[str] = []
    while True:
        answer = await client.call("GET", url)
        assert answer.status == 200, answer.body
        ids += [item["user_id"] for item in answer.body["items"]]
        if answer.body["next_cursor"] is None:
            return ids
        url = answer.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
