"""The tests' own PostgreSQL leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

_KILLED = """
import os, signal
from postgres_server import open_postgres_server
with open_postgres_server() as server:
    print(server.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_server_and_its_folder_are_gone_even_when_its_program_is_killed() -> None:
    # The keeper holds stderr open, so that this returns once the keeper has ended.
    program = [sys.executable, "-c", _KILLED]
    ran = subprocess.run(program, cwd=Path(__file__).parent, capture_output=True, timeout=30, check=False)
    folder = Path(ran.stdout.decode().strip())
    assert folder.name.startswith("kros-pg-")
    assert not folder.exists()
