"""A client of FaceID servers: `Client` for plain code, `AsyncClient` for asyncio. Needs nothing but aiohttp.

with Client.from_profile() as faceid:
    found = faceid.search("photo.jpg")
    print(found.best.full_name if found.best else "nobody we know")
"""

from faceid_client.answers import (
    Answer,
    Box,
    Candidate,
    Detection,
    EnrolledFace,
    Enrolment,
    Face,
    FaceFound,
    Job,
    LogEntry,
    Search,
    User,
    Verification,
)
from faceid_client.blocking import Client
from faceid_client.client import AsyncClient
from faceid_client.connection import Photo, Reply
from faceid_client.errors import (
    ApiError,
    ConnectionLost,
    FaceIdError,
    JobPending,
    NotLoggedIn,
    NotReachable,
    NotTrusted,
)
from faceid_client.profiles import Profile

__all__ = [
    "Answer",
    "ApiError",
    "AsyncClient",
    "Box",
    "Candidate",
    "Client",
    "ConnectionLost",
    "Detection",
    "EnrolledFace",
    "Enrolment",
    "Face",
    "FaceFound",
    "FaceIdError",
    "Job",
    "JobPending",
    "LogEntry",
    "NotLoggedIn",
    "NotReachable",
    "NotTrusted",
    "Photo",
    "Profile",
    "Reply",
    "Search",
    "User",
    "Verification",
]
