"""The first thing that a child process runs: `python -m infra.child_start MODULE FD HOST_PID …`.

It ties the child to its host before anything slow is imported, so that a host that is killed leaves nothing
behind even while its children are starting. Standard library only, for the same reason.
"""

import ctypes
import os
import runpy
import signal
import sys

# prctl(2)
_PR_SET_PDEATHSIG = 1


def prctl(option: int, value: int) -> None:
    """Linux's prctl(2). Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def end_with_host(host_pid: int) -> None:
    """Have the kernel kill this process when its host ends."""
    if sys.platform == "linux":
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The host may have died before the line above; elsewhere than on Linux the closed socket ends the child.
    if os.getppid() != host_pid:
        sys.exit("the host is gone")


def main() -> None:
    # The host decides when its children end, and asks them by closing the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    module, _, host_pid = sys.argv[1:4]
    end_with_host(int(host_pid))
    del sys.argv[0]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
