"""Enrolled faces: GET and DELETE /faces/{id}."""

from uuid import UUID

from aiohttp import web

from ingress.answers import job_response, json_response
from ingress.calls import Call
from schemas.api.people import FaceAnswer
from schemas.problems import ProblemError
from schemas.records import FaceRecord, FaceState, User


async def show(call: Call, _: None) -> web.Response:
    """Whose face it is and how good; never the template."""
    face, user = await _find(call, call.path_id("face_id"))
    person = await call.services.users.open(call.company_id, user)
    answer = FaceAnswer(
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
        has_photo=face.photo_key is not None,
    )
    return json_response(answer)


async def delete(call: Call, _: None) -> web.Response:
    """Deny the face from now on, then have index and photo cleared."""
    services, company_id = call.services, call.company_id
    face, _user = await _find(call, call.path_id("face_id"))
    face_id = UUID(face.id)
    job = await services.submission.accept_face_deletion(call.submitter(), face_id)
    # Of two deletions at once the later finds a tombstone here. Both are carried out, and both clients hear
    # 204.
    await services.faces.delete(company_id, face_id)
    await services.submission.publish_removal(company_id, job, synced=False)
    return await job_response(call, job, synced=False)


async def _find(call: Call, face_id: UUID) -> tuple[FaceRecord, User]:
    """The face and its user, if both still count. Raises `ProblemError("not_found")`."""
    face = await call.services.faces.get(call.company_id, face_id)
    if face is None or face.state is not FaceState.ACTIVE or face.user_hash is None:
        raise ProblemError("not_found")
    user = await call.services.users.get(call.company_id, face.user_hash)
    if user is None or user.user_id_sealed is None or user.epoch != face.epoch:
        raise ProblemError("not_found")
    return face, user
