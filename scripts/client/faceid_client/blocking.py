"""The same client for code without an event loop: each method waits for its answer."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from os import PathLike
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from faceid_client.client import AsyncClient

P = ParamSpec("P")
T = TypeVar("T")


def _waits(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Client", P], T]:
    @wraps(method)
    def call(client: "Client", *args: P.args, **options: P.kwargs) -> T:
        return client.run(method(client.asynchronous, *args, **options))

    return call


def _lists(
    method: Callable[Concatenate[AsyncClient, P], AsyncIterator[T]],
) -> Callable[Concatenate["Client", P], Iterator[T]]:
    @wraps(method)
    def call(client: "Client", *args: P.args, **options: P.kwargs) -> Iterator[T]:
        items = method(client.asynchronous, *args, **options)
        while (found := client.run(_next(items))) is not None:
            yield found[0]

    return call


class Client:
    """As AsyncClient, method by method. Several threads may use one; it works inside a notebook, too."""

    def __init__(
        self,
        url: str,
        *,
        ca_file: str | PathLike[str] | None = None,
        api_key: str | None = None,
        token: str | None = None,
        refresh_token: str | None = None,
        timeout_s: float = 30,
        retry_for_s: float = 30,
    ) -> None:
        self._begin(
            AsyncClient(
                url,
                ca_file=ca_file,
                api_key=api_key,
                token=token,
                refresh_token=refresh_token,
                timeout_s=timeout_s,
                retry_for_s=retry_for_s,
            )
        )

    @classmethod
    def from_profile(
        cls,
        name: str | None = None,
        *,
        url: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = 30,
        retry_for_s: float = 30,
    ) -> Self:
        """As `faceid login` left it, or as FACEID_URL, FACEID_CA_FILE and FACEID_API_KEY say, or as is given
        here."""
        client = cls.__new__(cls)
        client._begin(
            AsyncClient.from_profile(
                name, url=url, ca_file=ca_file, timeout_s=timeout_s, retry_for_s=retry_for_s
            )
        )
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections. A client that was closed can't be used again."""
        if self._loop.is_running():
            self.run(self.asynchronous.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    call = _waits(AsyncClient.call)
    register = _waits(AsyncClient.register)
    login = _waits(AsyncClient.login)
    logout = _waits(AsyncClient.logout)
    enroll = _waits(AsyncClient.enroll)
    search = _waits(AsyncClient.search)
    verify = _waits(AsyncClient.verify)
    detect = _waits(AsyncClient.detect)
    user = _waits(AsyncClient.user)
    users = _lists(AsyncClient.users)
    update_user = _waits(AsyncClient.update_user)
    delete_user = _waits(AsyncClient.delete_user)
    face = _waits(AsyncClient.face)
    faces = _lists(AsyncClient.faces)
    delete_face = _waits(AsyncClient.delete_face)
    job = _waits(AsyncClient.job)
    jobs = _lists(AsyncClient.jobs)
    logs = _lists(AsyncClient.logs)
    get = _waits(AsyncClient.get)
    pages = _lists(AsyncClient.pages)
    stream = _lists(AsyncClient.stream)
    request = _waits(AsyncClient.request)

    def _begin(self, client: AsyncClient) -> None:
        self.asynchronous = client
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faceid-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work on the `asynchronous` client, which lives in a thread of its own."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except KeyboardInterrupt:
            running.cancel()
            raise


async def _next(items: AsyncIterator[T]) -> tuple[T] | None:
    async for item in items:
        return (item,)
    return None
