"""`python -m tests.checks.deploy`: try the files of `deploy/`, as far as this machine allows."""

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from subprocess import CalledProcessError

import anyio

from kros_mcp.settings import Settings
from kros_mcp.simulator import Simulator, open_server
from tests.checks.deploy import files
from tests.checks.deploy.proxies import caddy, find, free_port, keep_alive_seconds, nginx, open_proxy
from tests.checks.deploy.walk import APPROVER, CALLER, WAITER, Walk
from tests.checks.packaging.checks import CheckError, Checks, require
from tests.support.processes import end_as_by_ctrl_c
from tests.support.replicas import Service, open_service, token_of

ABOUT = """
Tries what stands in deploy/ without a cluster, an engine of containers or a registry of images.

what is tried
  manifests      the published schemas of Kubernetes take them, and know every field
  compose.yaml   the published schema of Compose takes it, and a linter
  the unit       systemd-analyze verify; how exposed it leaves the service
  all files      every KROS_* and every option that they name is one of kros-mcp's
  Containerfile  a wheel is built from nothing but what it copies; its health check, against a running service
  nginx, Caddy   the examples as running proxies before a running service: purchases by code and by prompt in both
                 protocol revisions, by an approver on the page, another page's yes, another Host, a body too long,
                 an X-Forwarded-For of the client's own making

What needs more than that is in the table as not tried; deploy/README.md says how it was tried once.
"""
EXIT = """
exit codes
  0  nothing failed; what could not be tried here is said
  1  something failed, or with --complete a program that can be installed is missing: nginx, caddy, systemd-analyze
"""
_UNTRIED = {
    "image: built and run": "needs a base image from a registry",
    "compose.yaml: up": "needs an engine and images",
    "manifests: applied": "needs a cluster",
    "unit: started": "needs systemd as the first process",
}


def main() -> int:
    """Run every check and print the table."""
    arguments = _parsed()
    end_as_by_ctrl_c()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="kros-mcp-deploy-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's workers are another user
        _look(checks, folder, complete=arguments.complete)
        anyio.run(_run_all, checks, folder, arguments.complete, arguments.think)
    for name, reason in _UNTRIED.items():
        checks.leave_out(name, reason)
    print("\n".join(checks.table()))
    return 1 if checks.failed else 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.checks.deploy",
        description=ABOUT,
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--complete", action="store_true", help="fail if a program that can be installed is missing")
    parser.add_argument(
        "--think", type=float, default=0, metavar="SECONDS", help="how long a person takes to answer each prompt (0)"
    )
    return parser.parse_args()


def _look(checks: Checks, folder: Path, *, complete: bool) -> None:
    with checks.check("manifests: published schemas"):
        files.check_manifests()
    with checks.check("compose.yaml: published schema"):
        files.check_compose()
    if _is_there(checks, "unit: systemd-analyze", "systemd-analyze", complete=complete):
        with checks.check("unit: systemd-analyze"):
            files.check_unit(folder)
    with checks.check("scripts: syntax"):
        files.check_scripts(folder)
    with checks.check("all files: settings and options"):
        files.check_settings()
    with checks.check("Containerfile: its wheel"):
        files.build_as_the_image_does(folder / "image")
    with checks.check("proxies: keep-alive"):
        ours = Settings.model_fields["keep_alive_seconds"].default
        require(all(seconds < ours for seconds in keep_alive_seconds().values()), f"not all shorter than {ours} s")


def _is_there(checks: Checks, name: str, program: str, *, complete: bool) -> bool:
    """Whether a program is here; if not, that is said, or is a failure."""
    if find(program):
        return True
    if complete:
        with checks.check(name):
            raise CheckError(f"there is no {program} here")
    else:
        checks.leave_out(name, f"no {program} here")
    return False


async def _run_all(checks: Checks, folder: Path, complete: bool, thinks: float) -> None:
    await _try(checks, "Containerfile: its health check", lambda: _check_health(folder))
    for name, prepared in (("nginx", nginx), ("caddy", caddy)):
        if not _is_there(checks, name, name, complete=complete):
            continue
        port, sim = free_port(), Simulator("reference")
        async with (
            open_server(sim) as base_url,
            _service(folder, name, sim, base_url, f"https://localhost:{port}") as service,
        ):
            await service.served()
            try:
                proxy = await anyio.to_thread.run_sync(prepared, folder / name, port, service.port or 0)
                async with open_proxy(proxy):
                    await _walk(checks, name, Walk(port, proxy.authority, sim, thinks))
            except (CheckError, CalledProcessError, BaseExceptionGroup) as exc:
                with checks.check(f"{name}: starts"):
                    raise _leaf(exc) from None


async def _walk(checks: Checks, name: str, walk: Walk) -> None:
    await _try(checks, f"{name}: purchase by code", lambda: walk.by_code("auto"))
    await _try(checks, f"{name}: purchase by code, 2025-11-25", lambda: walk.by_code("legacy"))
    await _try(checks, f"{name}: purchase by prompt", lambda: walk.by_prompt("auto"))
    await _try(checks, f"{name}: purchase by prompt, 2025-11-25", lambda: walk.by_prompt("legacy"))
    await _try(checks, f"{name}: purchase by approver", walk.by_approver)
    await _try(checks, f"{name}: other Host, long body", walk.is_guarded)
    await _try(checks, f"{name}: X-Forwarded-For", walk.tells_the_address)


async def _try(checks: Checks, name: str, step: Callable[[], Awaitable[object]]) -> None:
    with checks.check(name):
        try:
            await step()
        except Exception as exc:  # noqa: BLE001 - whatever a client raises is a failure of this step
            raise _leaf(exc) from None


def _leaf(exc: BaseException) -> Exception:
    """Return what went wrong first, as something that a check reports."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc if isinstance(exc, CheckError | CalledProcessError) else CheckError(f"{type(exc).__name__}: {exc}")


async def _check_health(folder: Path) -> None:
    sim = Simulator("reference")
    async with open_server(sim) as base_url, _service(folder, "health", sim, base_url, "https://localhost") as service:
        await service.served()
        await anyio.to_thread.run_sync(files.check_health, service.url)


def _service(
    folder: Path, name: str, sim: Simulator, base_url: str, public_url: str
) -> AbstractAsyncContextManager[Service]:
    """Start the service as the examples want it, with its secrets in files."""
    own = folder / f"{name}-service"
    own.mkdir()
    (own / "api-key").write_text(f"{sim.api_key}\n")
    (own / "state-keys").write_text(f"{'k' * 44}\n")
    tokens = {
        CALLER: 'scopes = ["numbers:read", "numbers:buy"]',
        WAITER: 'scopes = ["numbers:read", "numbers:buy"]\nconfirmation = "approver"',
        APPROVER: 'scopes = ["numbers:approve"]',
    }
    (own / "tokens.toml").write_text(
        "".join(
            f'[tokens.{caller}]\nsha256 = "{hashlib.sha256(token_of(caller).encode()).hexdigest()}"\n{rights}\n'
            for caller, rights in tokens.items()
        )
    )
    (own / "tokens.toml").chmod(0o600)
    settings = {
        "KROS_API_KEY_FILE": str(own / "api-key"),
        "KROS_STATE_KEYS_FILE": str(own / "state-keys"),
        "KROS_TOKENS_FILE": str(own / "tokens.toml"),
        "KROS_BASE_URL": base_url,
        "KROS_PUBLIC_URL": public_url,
        "KROS_TRUSTED_PROXIES": "127.0.0.1",
        "KROS_CONFIRMATION": "conversation",
        "KROS_ANSWER_WITHIN_SECONDS": "10",
        "XDG_STATE_HOME": str(own),
    }
    return open_service((), settings, own / "log")


if __name__ == "__main__":
    sys.exit(main())
