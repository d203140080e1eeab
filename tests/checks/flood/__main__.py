"""`python -m tests.checks.flood`: flood the service, and say whether it kept its memory and its good callers."""

import argparse
import asyncio
import importlib
import json
import pkgutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.checks.flood import good_caller, kinds
from tests.checks.flood.good_caller import PATIENCE_SECONDS, Answers
from tests.checks.flood.service import Service, serving
from tests.checks.flood.target import Target

KINDS = tuple(sorted(module.name for module in pkgutil.iter_modules(kinds.__path__)))
MOST_TIMES_IDLE = 1.5
MOST_BYTES_MORE = 64 * 2**20
MOST_SECONDS = 1.0
WARM_UP_CALLS = 20
STOP_SECONDS = 10.0
MIB = 2**20
EXIT = """
exit codes
  0  every bound held: memory at most 1.5 times idle plus 64 MiB, a good caller answered within 1 s throughout
  1  one did not, or the flood did nothing
"""


@dataclass
class Outcome:
    """What one flood did, and what the service made of it."""

    kind: str
    idle_bytes: int
    most_bytes: int
    answers: Answers
    did: dict[str, int]
    survived: bool

    @property
    def bound_bytes(self) -> int:
        return int(MOST_TIMES_IDLE * self.idle_bytes) + MOST_BYTES_MORE

    def missed(self) -> list[str]:
        """Say which bounds did not hold."""
        failures = self.answers.failures
        kept = {
            "the service ended": self.survived,
            f"it held {self.most_bytes / MIB:.0f} MiB": self.most_bytes <= self.bound_bytes,
            f"a good caller waited {self.answers.slowest_seconds:.2f} s": self.answers.slowest_seconds <= MOST_SECONDS,
            f"{len(failures)} good calls failed: {', '.join(sorted(set(failures)))}": not failures,
            "the flood did nothing": any(self.did.values()),
        }
        return [f"{self.kind}: {sentence}" for sentence, holds in kept.items() if not holds]

    def line(self) -> str:
        did = ", ".join(f"{count:,} {what}" for what, count in sorted(self.did.items()))
        seconds = sorted(self.answers.seconds) or [PATIENCE_SECONDS]
        return (
            f"{self.kind:10}{self.idle_bytes / MIB:6.0f}{self.most_bytes / MIB:7.0f}{self.bound_bytes / MIB:7.0f}"
            f"{len(self.answers.seconds):8}{len(self.answers.failures):8}"
            f"{seconds[len(seconds) // 2]:9.3f}{self.answers.slowest_seconds:9.3f}   {did}"
        )


async def measure(kind: str, seconds: float) -> Outcome:
    """Start the service, flood it for so many seconds, and stop it."""
    settings: dict[str, str] = getattr(module_of(kind), "SETTINGS", {})
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), settings) as service:
        await good_caller.call(service.port, service.tokens["good"], WARM_UP_CALLS)
        idle = service.resident_bytes()
        service.forget_the_most()
        answers = Answers()
        did = await during(kind, seconds, service, answers)
        return Outcome(kind, idle, service.most_resident_bytes(), answers, did, service.is_alive)


async def during(kind: str, seconds: float, service: Service, answers: Answers) -> dict[str, int]:
    """Let a good caller call while the flood goes on; what the flood did."""
    command = [sys.executable, "-m", "tests.checks.flood", "--against", str(service.port), kind]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    calling = asyncio.create_task(good_caller.keep_calling(service.port, service.tokens["good"], answers))
    try:
        assert process.stdin is not None
        process.stdin.write(f"{service.tokens['flood']}\n".encode())
        await asyncio.sleep(seconds)
    finally:
        calling.cancel()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            told, _ = await asyncio.wait_for(process.communicate(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            told = b""
        with suppress(asyncio.CancelledError):
            await calling
    found: dict[str, int] = json.loads(told or b"{}")
    return found


async def flood(kind: str, port: int) -> None:
    """Be the flood, until SIGINT comes; then tell what was done."""
    target = Target(port, sys.stdin.readline().strip())
    doing = asyncio.create_task(module_of(kind).flood(target))
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, doing.cancel)
    with suppress(asyncio.CancelledError):
        await doing
    print(json.dumps(target.did), flush=True)


def module_of(kind: str) -> ModuleType:
    return importlib.import_module(f"{kinds.__name__}.{kind}")


def main() -> int:
    about = [f"  {kind:10}{(module_of(kind).__doc__ or '').splitlines()[0]}" for kind in KINDS]
    parser = argparse.ArgumentParser(
        "python -m tests.checks.flood",
        description=(__doc__ or "").partition(": ")[2],
        epilog="\n".join(["kinds", *about, EXIT]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="which floods, one after the other (all)")
    parser.add_argument("--seconds", type=float, default=20, help="how long each goes on (default 20)")
    parser.add_argument("--against", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.kinds) - set(KINDS):
        parser.error(f"there is no flood of {', '.join(sorted(unknown))}; the kinds are {', '.join(KINDS)}")
    if arguments.against:
        asyncio.run(flood(arguments.kinds[0], arguments.against))
        return 0
    print(f"{'':10}{'idle':>6}{'most':>7}{'bound':>7}{'good':>8}{'failed':>8}{'median':>9}{'slowest':>9}   the flood")
    print(f"{'':10}{'MiB':>6}{'MiB':>7}{'MiB':>7}{'calls':>8}{'calls':>8}{'s':>9}{'s':>9}")
    missed = []
    for kind in arguments.kinds or KINDS:
        outcome = asyncio.run(measure(kind, arguments.seconds))
        print(outcome.line(), flush=True)
        missed += outcome.missed()
    for sentence in missed:
        print(f"missed  {sentence}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
