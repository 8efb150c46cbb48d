"""People: GET /users, GET, PATCH and DELETE /users/{user_id}."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from pydantic import JsonValue

from infra.repositories.users import UserFilter, regrouped
from ingress.answers import job_response, json_response
from ingress.calls import Call
from ingress.listing import page_response, position_of
from ingress.merge_patch import merged
from ingress.people import find_erasable, find_user, recorded
from ingress.validation import invalid_fields
from schemas.api.people import ConsentAnswer, UserAnswer, UserPage, UserPatch, UserQuery
from schemas.fields import small_metadata
from schemas.jobs import JobRecord
from schemas.problems import FieldError
from schemas.records import User

_OK = 200


async def index(call: Call, query: UserQuery) -> web.Response:
    """People, newest first: all whom the credential has to do with, or those of a group, tag, name or
    reference id."""
    call.identity.narrowed([query.group] if query.group is not None else None)
    wanted = UserFilter(
        group=query.group,
        tag=query.tag,
        reference_id=query.reference_id,
        full_name=query.full_name,
        any_group=call.identity.groups,
    )
    page = await call.services.users.page(
        call.company_id, wanted, after=position_of(query, "users"), limit=query.limit
    )
    items = await _answers(call, page.items)
    return page_response(
        call.request,
        query,
        "users",
        page.next_key,
        lambda cursor: UserPage(items=items, next_cursor=cursor),
    )


async def show(call: Call, _: None) -> web.Response:
    """One person."""
    return await _answered(call, await find_user(call))


async def change(call: Call, patch: UserPatch) -> web.Response:
    """Change what is given. A change of groups is answered when searches go by it, or with 202 before."""
    services, company_id = call.services, call.company_id
    job: JobRecord | None = None
    while True:
        user = await find_user(call)
        given = await _given(call, user, patch)
        if set(given.get("groups", user.groups)) != set(user.groups) and job is None:
            # Recorded before anything changes: a crash after the change must not leave the index behind.
            job = await services.submission.accept_regrouping(call.submitter(), user.id, user.epoch)
        changed = await services.users.change(company_id, user, given)
        if changed is not None:
            break
    if changed.consent != user.consent:
        what = "recorded" if changed.consent else "withdrawn"
        await call.audit(f"user.consent_{what}", user_hash=user.id)
    if job is None:
        return await _answered(call, changed)
    await services.submission.publish_regrouping(company_id, job, synced=False)
    response = await job_response(call, job, synced=False)
    if response.status != _OK:
        return response  # Not done in the time that the client waits, or overtaken by an erasure.
    answer = await _answered(call, changed)
    answer.headers.update(
        {name: value for name, value in response.headers.items() if name == "Preference-Applied"}
    )
    return answer


async def erase(call: Call, _: None) -> web.Response:
    """Deny the person's faces from now on, then have every trace of them cleared.

    Somebody whose first enrolment is still on its way is erased, too: it ends as superseded.
    """
    services, company_id = call.services, call.company_id
    user_hash, epoch = await find_erasable(call)
    job = await services.submission.accept_erasure(call.submitter(), user_hash, epoch)
    await services.users.erase(company_id, user_hash, epoch)
    await services.submission.publish_removal(company_id, job, synced=False)
    return await job_response(call, job, synced=False)


async def _given(call: Call, user: User, patch: UserPatch) -> dict[str, Any]:
    """The patch as the record's new values."""
    given: dict[str, Any] = {name: getattr(patch, name) for name in patch.model_fields_set}
    if "groups" in given:
        call.identity.narrowed(patch.groups or ())
        given["groups"] = regrouped(user.groups, patch.groups or (), within=call.identity.groups)
    if "consent" in given:
        given["consent"] = recorded(call, patch.consent)
    if patch.metadata is not None:
        person = await call.services.users.open(call.company_id, user)
        given["metadata"] = _small(merged(person.metadata, patch.metadata))
    return given


def _small(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        return small_metadata(metadata)
    except ValueError as error:
        raise invalid_fields([FieldError(field="metadata", message=str(error))]) from None


async def _answered(call: Call, user: User) -> web.Response:
    (answer,) = await _answers(call, [user])
    return json_response(answer)


async def _answers(call: Call, users: Sequence[User]) -> list[UserAnswer]:
    services, company_id = call.services, call.company_id
    faces = await services.faces.counted(company_id, [user.id for user in users])
    now = services.clock.now()
    answers: list[UserAnswer] = []
    for user in users:
        person = await services.users.open(company_id, user)
        answers.append(
            UserAnswer(
                user_id=person.user_id,
                full_name=person.full_name,
                tags=list(person.tags),
                groups=list(person.groups),
                reference_id=person.reference_id,
                metadata=person.metadata,
                consent=ConsentAnswer(**user.consent.model_dump()) if user.consent else None,
                valid_until=user.valid_until,
                expired=user.is_expired(now),
                faces=faces[user.id],
                created_at=user.created_at,
                updated_at=user.updated_at,
            )
        )
    return answers
