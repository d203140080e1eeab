"""Nothing that a program of the tests has started outlives it."""

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.processes import run_group

LAUNCHER = "sleep 600 & echo started; wait"
PROGRAM = f"""
import anyio
from tests.processes import end_as_by_ctrl_c, open_group

async def main():
    async with open_group(["sh", "-c", {LAUNCHER!r}], stderr=1) as process:
        print((await process.stdout.receive()).decode(), end="", flush=True)
        await process.wait()

end_as_by_ctrl_c()
anyio.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_stop_takes_along_what_its_programs_have_launched(number: signal.Signals) -> None:
    """With SIGINT ignored at its start, as a shell does to what it runs in the background."""
    command = ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, PROGRAM]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"started\n"
        run.send_signal(number)
        left, _ = run.communicate(timeout=20)  # until nobody holds the pipe, as what was launched does by its stderr
    assert (left, run.returncode) == (b"", -signal.SIGINT)


@pytest.mark.anyio
async def test_a_program_tells_what_it_printed_and_how_it_ended() -> None:
    ended = await run_group(["sh", "-c", "cat; echo out; echo err >&2; exit 3"])
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "out\n", "err\n")


@pytest.mark.anyio
async def test_a_program_that_does_not_end_is_ended_with_what_it_launched() -> None:
    with anyio.fail_after(20), pytest.raises(TimeoutError):
        await run_group(["sh", "-c", LAUNCHER], seconds=0.2)
