"""Which child processes of this one are the program's own."""

import contextlib

import psutil


def own_children() -> list[psutil.Process]:
    """Those that `infra.child` starts, dead ones that nobody has reaped included; no server of the run."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE or "infra.child_start" in child.cmdline():
                found.append(child)
    return found
