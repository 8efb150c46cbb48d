"""A client of FaceID servers: `Client` for plain code, `AsyncClient` for asyncio. Needs nothing but aiohttp.

with Client("https://faceid.example", api_key="fid_…") as faceid:
    found = faceid.search("photo.jpg")
    print(found["best"]["full_name"] if found["best"] else "nobody we know")
"""

from faceid_client.blocking import Client
from faceid_client.client import AsyncClient
from faceid_client.connection import Photo, Reply
from faceid_client.errors import ApiError, ConnectionLost, FaceIdError, JobPending, NotReachable, NotTrusted

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ConnectionLost",
    "FaceIdError",
    "JobPending",
    "NotReachable",
    "NotTrusted",
    "Photo",
    "Reply",
]
