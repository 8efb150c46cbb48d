"""API keys: GET and POST /api-keys, POST /api-keys/{id}/rotate, DELETE /api-keys/{id}."""

from uuid import UUID

from aiohttp import hdrs, web

from infra.repositories.api_keys import ApiKeyExpired, ApiKeyGrant
from ingress.answers import json_response
from ingress.calls import Call
from ingress.listing import page_response, position_of
from ingress.validation import invalid_fields
from schemas.api.api_keys import (
    ApiKeyAnswer,
    ApiKeyPage,
    ApiKeyRequest,
    ApiKeySecretAnswer,
    ApiKeysQuery,
    RotateRequest,
)
from schemas.problems import FieldError, ProblemError
from schemas.records import ApiKey


async def index(call: Call, query: ApiKeysQuery) -> web.Response:
    """The company's keys, without their secrets."""
    page = await call.services.api_keys.list(
        call.company_id, after=position_of(query, "api-keys"), limit=query.limit
    )
    items = [await _answer(call, key) for key in page.items]
    return page_response(
        call.request,
        query,
        "api-keys",
        page.next_key,
        lambda cursor: ApiKeyPage(items=items, next_cursor=cursor),
    )


async def add(call: Call, body: ApiKeyRequest) -> web.Response:
    """A new key, shown this once."""
    services, now = call.services, call.services.clock.now()
    if body.expires_at is not None and body.expires_at <= now:
        raise invalid_fields([FieldError(field="expires_at", message="is past")])
    key_id = call.new_id()
    secret = call.parts.authenticator.api_keys.generate(call.company_id, key_id)
    grant = ApiKeyGrant(body.name, body.scopes, _distinct(body.groups), body.expires_at)
    key = await services.api_keys.add(
        call.company_id, key_id, grant, secret, created_by=call.identity.credential
    )
    await call.audit(
        "api_key.added",
        key_id=key.id,
        scopes=[*key.scopes],
        bound_to_groups=key.groups is not None,
        expires_at=key.expires_at.isoformat() if key.expires_at else None,
    )
    response = json_response(await _answer_with(call, key, secret.text), status=201)
    response.headers[hdrs.LOCATION] = f"/api-keys/{key.id}"
    return response


async def rotate(call: Call, body: RotateRequest) -> web.Response:
    """A new secret for a key; the one before works on for a while, and the one before that no longer."""
    key_id = call.path_id("key_id")
    secret = call.parts.authenticator.api_keys.generate(call.company_id, key_id)
    try:
        key = await call.services.api_keys.rotate(
            call.company_id, str(key_id), call.new_id(), secret, overlap_s=body.overlap_s
        )
    except ApiKeyExpired:
        raise ProblemError("api_key_expired") from None
    if key is None:
        raise ProblemError("not_found")
    await call.audit("api_key.rotated", key_id=key.id, overlap_s=body.overlap_s)
    return json_response(await _answer_with(call, key, secret.text))


async def revoke(call: Call, _: None) -> web.Response:
    """Revoke a key for good, from the next request on."""
    key_id = call.path_id("key_id")
    if not await call.services.api_keys.remove(call.company_id, str(key_id)):
        raise ProblemError("not_found")
    await call.audit("api_key.revoked", key_id=str(key_id))
    return web.Response(status=204)


def _distinct(groups: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if groups is None else tuple(dict.fromkeys(groups))


async def _answer(call: Call, key: ApiKey) -> ApiKeyAnswer:
    until = key.previous_until
    return ApiKeyAnswer(
        key_id=UUID(key.id),
        name=await call.services.api_keys.name(call.company_id, key),
        scopes=list(key.scopes),
        groups=None if key.groups is None else list(key.groups),
        last_four=key.last_four,
        created_at=key.created_at,
        created_by=key.created_by,
        rotated_at=key.rotated_at,
        previous_works_until=until if until is not None and until > call.services.clock.now() else None,
        expires_at=key.expires_at,
    )


async def _answer_with(call: Call, key: ApiKey, secret: str) -> ApiKeySecretAnswer:
    return ApiKeySecretAnswer(**dict(await _answer(call, key)), api_key=secret)
