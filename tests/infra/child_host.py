"""A host that `test_child.py` kills: prints the process id of its child, which is at a call without end."""

import asyncio

from infra.child import ChildProcess


async def main() -> None:
    child = ChildProcess("example", "tests.infra.child_examples", arguments={}, start_timeout_s=30)
    await child.start()
    call = asyncio.create_task(child.call("hang", timeout_s=600))
    print(child.pid, flush=True)
    await call


if __name__ == "__main__":
    asyncio.run(main())
