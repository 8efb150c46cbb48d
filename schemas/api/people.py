"""Faces and people as a client sees them."""

from uuid import UUID

from pydantic import BaseModel

from schemas.fields import Instant
from schemas.recognition import Box, ModelStamp, Quality


class FaceAnswer(BaseModel):
    """An enrolled face and whose it is; never the template."""

    face_id: UUID
    user_id: str
    full_name: str | None
    groups: list[str]
    tags: list[str]
    quality: Quality | None
    box: Box | None
    model: ModelStamp
    created_at: Instant
    enrolled_by: str | None
    has_photo: bool
