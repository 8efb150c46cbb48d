"""Fetch every server that tests run against and that this machine can have: `python -m tests.servers`."""

import sys

from tests.servers import kafka, secantus, versitygw
from tests.servers.engine import ServerMissing

FETCH = {"kafka": kafka.fetch, "secantus": secantus.fetch, "versitygw": versitygw.fetch}

for name, fetch in FETCH.items():
    try:
        print(f"{name}: {fetch()}")
    except ServerMissing as missing:
        print(f"{name}: {missing}", file=sys.stderr)
