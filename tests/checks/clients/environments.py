"""`python -m tests.checks.clients.environments SCRIPT PROGRAM …`: run a program in the environment of a script.

The environment is made of what the script names at its top. So a heavy framework is installed once, for the example in
`docs/examples` and for the bridge that drives the same framework.
"""

import os
import shutil
import subprocess
import sys


def uv() -> str:
    """Return the path of uv.

    Raises:
        FileNotFoundError: There is none.
    """
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        raise FileNotFoundError("uv is needed to give each client an environment of its own: pip install uv")
    return found


def main() -> None:
    """Install what is missing, and become the program."""
    script, *program = sys.argv[1:]
    subprocess.run([uv(), "sync", "--quiet", "--python", sys.executable, "--script", script], check=True)
    found = subprocess.run([uv(), "python", "find", "--script", script], check=True, capture_output=True, text=True)
    python = found.stdout.strip()
    os.execv(python, [python, *program])  # noqa: S606 - the bridge must be the process that is talked to


if __name__ == "__main__":
    main()
