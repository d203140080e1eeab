"""The examples of nginx and Caddy as they stand, but for ports, names and certificates, as running proxies."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from tests.checks.packaging.checks import CheckError, require
from tests.support.processes import open_group

DEPLOY = Path(__file__).parents[3] / "deploy"
NGINX, CADDY = DEPLOY / "nginx" / "kros-mcp.conf", DEPLOY / "caddy" / "Caddyfile"
_START_SECONDS = 20


@dataclass(frozen=True)
class Proxy:
    """A proxy that is to end TLS on `https://localhost:port`, with the example found to have no fault.

    Args:
        port: Where it listens on localhost.
        command: What runs it, in the foreground.
        environment: Its variables, beside those of this process.
        authority: Whose certificate it shows, in PEM form; there once it serves.
    """

    port: int
    command: list[str]
    environment: Mapping[str, str]
    authority: Path


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def nginx(folder: Path, port: int, service: int) -> Proxy:
    """Let nginx look at the example.

    Args:
        folder: Made for its files.
        port: Where it is to listen.
        service: The port of the service.

    Raises:
        CheckError: The example is not as this expects.
        CalledProcessError: nginx finds a fault.
    """
    folder.mkdir()
    authority = _certificate(folder)
    folders = "".join(
        f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off;\npid {folder / 'pid'};\nerror_log stderr notice;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}include {folder / 'example.conf'};\n}}\n"
    )
    (folder / "example.conf").write_text(
        _replaced(
            NGINX.read_text(encoding="utf-8"),
            {
                "listen 80;": f"listen 127.0.0.1:{free_port()};",
                "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
                "    listen [::]:80;\n": "",
                "    listen [::]:443 ssl;\n": "",
                "/etc/nginx/tls/": f"{folder}/",
                "server 127.0.0.1:8000;": f"server 127.0.0.1:{service};",
                "server_name numbers.example.com;": "server_name localhost;",
            },
        )
    )
    command = [_program("nginx"), "-c", str(main)]
    subprocess.run([*command, "-t"], capture_output=True, text=True, check=True, timeout=_START_SECONDS)
    return Proxy(port, command, {}, authority)


def caddy(folder: Path, port: int, service: int) -> Proxy:
    """Let Caddy look at the example.

    Args:
        folder: Made for its files.
        port: Where it is to listen.
        service: The port of the service.

    Raises:
        CheckError: Caddy would write the example otherwise.
    """
    folder.mkdir()
    main = folder / "Caddyfile"
    # It shall neither put its authority among those that this machine trusts nor take port 80.
    main.write_text(f"{{\nadmin off\nskip_install_trust\nauto_https disable_redirects\n}}\nimport {CADDY}\n")
    environment = {
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "PUBLIC_NAME": f"localhost:{port}",
        "UPSTREAM": f"127.0.0.1:{service}",
    }
    command = [_program("caddy"), "run", "--adapter", "caddyfile", "--config", str(main)]
    written = subprocess.run([command[0], "fmt", str(CADDY)], capture_output=True, text=True, check=False)
    require(written.stdout == CADDY.read_text(encoding="utf-8"), "caddy fmt would write the Caddyfile otherwise")
    authority = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    return Proxy(port, command, environment, authority)


def keep_alive_seconds() -> dict[str, float]:
    """Return how long each proxy keeps an idle connection to the service."""
    told = {"nginx": (NGINX, r"keepalive_timeout (\d+)s;"), "caddy": (CADDY, r"\bkeepalive (\d+)s")}
    return {
        name: float(re.findall(pattern, path.read_text(encoding="utf-8"))[0]) for name, (path, pattern) in told.items()
    }


@asynccontextmanager
async def open_proxy(proxy: Proxy) -> AsyncIterator[None]:
    """Run a proxy, from the moment in which it serves to the end of the block.

    Raises:
        CheckError: It does not start.
    """
    async with (
        open_group(proxy.command, env={**os.environ, **proxy.environment}) as process,
        anyio.create_task_group() as tasks,
    ):
        said = bytearray()

        async def read() -> None:
            assert process.stderr is not None
            async for chunk in process.stderr:
                said.extend(chunk)

        tasks.start_soon(read)
        with anyio.move_on_after(_START_SECONDS) as waiting:
            # Caddy listens before it has made its certificate.
            while process.returncode is None and not await _shows_its_certificate(proxy):  # noqa: ASYNC110 - not ours
                await anyio.sleep(0.05)
        serves = process.returncode is None and not waiting.cancelled_caught
        require(serves, f"{proxy.command[0]} does not start: {said.decode(errors='replace')}")
        yield
        tasks.cancel_scope.cancel()


async def _shows_its_certificate(proxy: Proxy) -> bool:
    try:
        trusted = ssl.create_default_context(cafile=proxy.authority)
        stream = await anyio.connect_tcp(
            "127.0.0.1", proxy.port, ssl_context=trusted, tls_hostname="localhost", tls_standard_compatible=False
        )
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
        return False
    await stream.aclose()
    return True


def _certificate(folder: Path) -> Path:
    """Make a certificate for localhost, under the names that the example gives key and certificate."""
    certificate = folder / "numbers.example.com.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate)]
    command = [_program("openssl"), "req", "-x509", "-days", "2", *made, *files]
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=_START_SECONDS)
    return certificate


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        require(old in text, f"the example does not say {old.strip()!r} any more")
        text = text.replace(old, new)
    return text


def find(name: str) -> str | None:
    """Return where a program is installed, also one that is the system administrator's."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _program(name: str) -> str:
    if (found := find(name)) is None:
        raise CheckError(f"there is no {name} here")
    return found
