"""The same client for code without an event loop: each method waits for its answer."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from functools import wraps
from os import PathLike
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
    method: Callable[Concatenate[AsyncClient, P], AsyncGenerator[T]],
) -> Callable[Concatenate["Client", P], Iterator[T]]:
    @wraps(method)
    def call(client: "Client", *args: P.args, **options: P.kwargs) -> Iterator[T]:
        items = method(client.asynchronous, *args, **options)
        try:
            while (found := client.run(_next(items))) is not None:
                yield found
        finally:
            if not client.closed:  # Who breaks off may let go of the listing later than of the client.
                client.run(items.aclose())

    return call


async def _next(items: AsyncGenerator[T]) -> T | None:
    return await anext(items, None)


class Client:
    """As AsyncClient, method by method. Several threads may use one; it works inside a notebook, too."""

    def __init__(
        self,
        url: str | None = None,
        *,
        ca_file: str | PathLike[str] | None = None,
        api_key: str | None = None,
        timeout_s: float = 30,
        retry_for_s: float = 30,
    ) -> None:
        bounds = {"timeout_s": timeout_s, "retry_for_s": retry_for_s}
        self._start(AsyncClient(url, ca_file=ca_file, api_key=api_key, **bounds))

    @classmethod
    def over(cls, client: AsyncClient) -> Self:
        """The blocking form of a client that was made, but not used yet."""
        blocking = cls.__new__(cls)
        blocking._start(client)
        return blocking

    @property
    def url(self) -> str:
        return self.asynchronous.url

    def _start(self, client: AsyncClient) -> None:
        self.asynchronous = client
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faceid-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return self._loop.is_closed()

    def close(self) -> None:
        """End the connections. A client that was closed can't be used again."""
        if not self.closed:
            self.run(self.asynchronous.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work on the `asynchronous` client, which lives in a thread of its own."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except KeyboardInterrupt:
            running.cancel()
            raise

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
    call = _waits(AsyncClient.call)
    request = _waits(AsyncClient.request)
