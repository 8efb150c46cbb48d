"""Enrolled faces: GET /faces, GET and DELETE /faces/{id}, GET /faces/{id}/image."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from aiohttp import hdrs, web

from infra.objects.port import ObjectNotFound
from infra.repositories.faces import USERS_AT_ONCE
from infra.repositories.users import UserFilter
from ingress.answers import job_response, json_response
from ingress.calls import Call
from ingress.image_header import read_header
from ingress.listing import page_response, position_of
from ingress.people import find_face, owns
from schemas.api.people import FaceAnswer, FacePage, FaceQuery, ImageQuery
from schemas.problems import ProblemError
from schemas.records import FaceRecord, User


async def index(call: Call, query: FaceQuery) -> web.Response:
    """Faces, newest first: of all users whom the credential has to do with, or of those asked for."""
    call.identity.narrowed([query.group] if query.group is not None else None)
    services, company_id = call.services, call.company_id
    wanted = UserFilter(
        group=query.group, tag=query.tag, reference_id=query.reference_id, any_group=call.identity.groups
    )
    owners: dict[str, User] = {}

    async def sift(faces: Sequence[FaceRecord]) -> list[FaceRecord]:
        hashes = dict.fromkeys(face.user_hash for face in faces if face.user_hash)
        users = await services.users.get_many(company_id, [one for one in hashes if one not in owners])
        owners.update({user.id: user for user in users.values()})
        passing = await services.users.passing(company_id, wanted, list(owners.values()))
        return [
            face
            for face in faces
            if face.user_hash in passing and face.user_hash and owns(owners[face.user_hash], face)
        ]

    page = await services.faces.page(
        company_id,
        await _users_of(call, query, wanted),
        sift,
        after=position_of(query, "faces"),
        limit=query.limit,
    )
    keeps_photos = await _keeps_photos(call)
    items = [
        await _answer(call, face, owners[face.user_hash or ""], keeps_photos=keeps_photos)
        for face in page.items
    ]
    return page_response(
        call.request,
        query,
        "faces",
        page.next_key,
        lambda cursor: FacePage(items=items, next_cursor=cursor),
    )


async def show(call: Call, _: None) -> web.Response:
    """Whose face it is and how good; never the template."""
    face, user = await find_face(call, call.path_id("face_id"))
    return json_response(await _answer(call, face, user, keeps_photos=await _keeps_photos(call)))


async def image(call: Call, query: ImageQuery) -> web.Response:
    """The photo that the face was enrolled with, or its reference, byte for byte, if the company kept it."""
    services, company_id = call.services, call.company_id
    face, _user = await find_face(call, call.path_id("face_id"))
    photo_key = face.reference_photo_key if query.kind == "reference" else face.photo_key
    if photo_key is None or not await _keeps_photos(call):
        raise ProblemError("not_found")
    try:
        sealed = await services.objects.get(company_id, photo_key)
    except ObjectNotFound:
        raise ProblemError("not_found") from None  # Deleted since its face was read.
    key = await services.keys.get(company_id)
    photo = await asyncio.to_thread(key.open_photo, photo_key, sealed)  # 4 ms for 10 MiB
    response = web.Response(body=photo, content_type=f"image/{read_header(photo).format}")
    response.headers[hdrs.CACHE_CONTROL] = "private, no-store"
    response.headers[hdrs.CONTENT_DISPOSITION] = "inline"
    return response


async def delete(call: Call, _: None) -> web.Response:
    """Deny the face from now on, then have index and photo cleared."""
    services, company_id = call.services, call.company_id
    face, _user = await find_face(call, call.path_id("face_id"))
    face_id = UUID(face.id)
    job = await services.submission.accept_face_deletion(call.submitter(), face_id)
    # Of two deletions at once the later finds a tombstone here. Both are carried out, and both clients hear
    # 204.
    await services.faces.delete(company_id, face_id)
    await services.submission.publish_removal(company_id, job, synced=False)
    return await job_response(call, job, synced=False)


async def _users_of(call: Call, query: FaceQuery, wanted: UserFilter) -> list[str] | None:
    """Hashes of the only users whose faces can be wanted; None when these are too many to be named: then
    faces are read one after another and sifted by their users."""
    users = call.services.users
    if query.user_id is not None:
        return [await users.hash_of(call.company_id, query.user_id)]
    if wanted.is_open:
        return None
    page = await users.page(call.company_id, wanted, after=None, limit=USERS_AT_ONCE)
    return [user.id for user in page.items] if page.next_key is None else None


async def _keeps_photos(call: Call) -> bool:
    """Whether photos may be shown: not those that were kept before the company ceased to keep any."""
    company = await call.services.accounts.company(call.company_id)
    return company is not None and company.policies.retention.keep_photos


async def _answer(call: Call, face: FaceRecord, user: User, *, keeps_photos: bool) -> FaceAnswer:
    person = await call.services.users.open(call.company_id, user)
    return FaceAnswer(
        face_id=UUID(face.id),
        user_id=person.user_id,
        full_name=person.full_name,
        groups=list(person.groups),
        tags=list(person.tags),
        quality=face.quality,
        box=face.box,
        model=face.model,
        created_at=face.created_at,
        enrolled_by=face.enrolled_by,
        has_photo=keeps_photos and face.photo_key is not None,
        has_reference_photo=keeps_photos and face.reference_photo_key is not None,
    )
