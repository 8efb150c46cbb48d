"""aiohttp's server, but for its answer to what is not HTTP: it would quote its parser, and the client."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from infra.telemetry import get_logger
from ingress.errors import problem_response
from ingress.observing import add_common_headers
from schemas.problems import ProblemError

_log = get_logger(__name__)

MakeId = Callable[[], str]


class Runner(web.AppRunner):
    """Runs the application on connections of our own. `make_id` makes a correlation id for what has none."""

    def __init__(self, app: web.Application, make_id: MakeId, **options: Any) -> None:
        super().__init__(app, **options)
        self._make_id = make_id

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler, self._make_id, request_factory=made.request_factory, **self._kwargs
        )


class _Server(web.Server):
    def __init__(self, handler: Any, make_id: MakeId, **options: Any) -> None:
        super().__init__(handler, **options)
        self._make_id = make_id

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._make_id, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ("_make_id",)

    def __init__(self, manager: web.Server, make_id: MakeId, **options: Any) -> None:
        super().__init__(manager, **options)
        self._make_id = make_id

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop waiting for the rest of a refused body when the client has gone: nobody awaits that task."""
        task = None if self._request_in_progress else self._task_handler
        super().connection_lost(exc)
        if task is not None:
            task.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The problem instead of the parser's words; the connection is closed after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has been begun")
        correlation_id = self._make_id()
        code = "malformed_request" if status < 500 else "internal"
        _log.info("request_unreadable", status=status, error=exc, correlation_id=correlation_id)
        response = problem_response(ProblemError(code), correlation_id)
        add_common_headers(response, correlation_id)
        response.force_close()
        return response
