"""The access log: GET /logs."""

from uuid import UUID

from aiohttp import web

from ingress.answers import json_response
from ingress.calls import Call
from ingress.listing import next_page, position_of
from schemas.api.logs import LogItem, LogPage, LogQuery
from schemas.jobs import JobRecord, Outcome


async def index(call: Call, query: LogQuery) -> web.Response:
    """Attempts at recognition, newest first: of everybody or of one user, of a period, of one outcome."""
    services, company_id = call.services, call.company_id
    of_user = query.user_id is not None
    page = await services.access_log.find(
        company_id,
        user_hash=await services.users.hash_of(company_id, query.user_id) if query.user_id else None,
        outcome=query.outcome,
        start=query.from_,
        end=query.to,
        after=position_of(query, "logs"),
        limit=query.limit,
    )
    cursor, headers = next_page(call.request, query, "logs", page.next_key)
    items = [await _item(call, job, of_user=of_user) for job in page.items]
    response = json_response(LogPage(items=items, next_cursor=cursor))
    response.headers.update(headers)
    return response


async def _item(call: Call, job: JobRecord, *, of_user: bool) -> LogItem:
    details = await call.services.jobs.log_details(call.company_id, job)
    return LogItem(
        time=job.created_at,
        job_id=UUID(job.id),
        kind=job.kind,
        outcome=job.outcome or Outcome.FAILED,
        code=job.code,
        user_id=details.user_id,
        nearest_user_id=None if of_user else details.nearest_user_id,
        score=job.score,
        similarity=job.similarity,
        confidence=job.confidence_percent,
        threshold=job.threshold_percent,
        location=details.location,
        photo_hash=job.photo_hash,
        credential=job.submitted_by,
        correlation_id=job.correlation_id,
    )
