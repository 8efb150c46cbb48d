"""What a detection answers: the faces of a photo, and what each could be used for."""

from uuid import UUID

from infra.repositories.jobs import Ending
from schemas.jobs import JobState
from schemas.results import DetectedFace, DetectResult, Usability
from workers.opened import Opened
from workers.recognition.analysis import Detection


def detected(opened: Opened, detection: Detection) -> Ending:
    """All faces that were found, which may be none. Identifies nobody, so it is no entry of the access
    log."""
    result = DetectResult(
        job_id=UUID(opened.job.id),
        width_px=detection.width_px,
        height_px=detection.height_px,
        faces=[
            DetectedFace(
                box=found.face.box,
                landmarks=found.face.landmarks,
                quality=found.face.quality,
                detection_confidence=found.face.detection_confidence,
                enrolment=_usability(found.enrolment),
                probe=_usability(found.probe),
            )
            for found in detection.faces
        ],
        timings_ms=opened.timings_ms(detection.timings_ms),
    )
    return Ending(
        state=JobState.SUCCEEDED,
        http_status=200,
        answer=result,
        event_type="faces.detected",
        event_data={"faces": len(result.faces)},
    )


def _usability(reason: tuple[str, str] | None) -> Usability:
    if reason is None:
        return Usability(usable=True)
    return Usability(usable=False, code=reason[0], detail=reason[1])
