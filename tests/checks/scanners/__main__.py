"""`python -m tests.checks.scanners`: security scanners report nothing about this server that is not explained."""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import anyio

from tests.support.columns import in_columns
from tests.support.processes import end_as_by_ctrl_c
from tests.support.replicas import open_service, token_of, write_tokens

from .findings import Finding, Scan, Verdict, compare, read_reasons
from .harness import NAME, agent_security_harness
from .running import SCANNERS as SMALLER
from .running import NothingScannedError, NotTriedError

REASONS = Path(__file__).with_name("explained.toml")
CALLER = "scanner"
SCANNERS = {**SMALLER, NAME: agent_security_harness}
ABOUT = f"""
Runs scanners that others wrote, each in an environment of its own, against the real server with a simulated KrosAI,
over stdio and over HTTP with a token, and on the sources. None is given a key, and none asks a service elsewhere.

  cisco-ai-mcp-scanner    YARA's and the schema rules on tools, prompts, resources, instructions; probes HTTP
  agent-audit             the sources of kros_mcp, and what it takes each tool to be able to do
  agentraas               which tools it takes for risky
  agent-security-harness  attacks over HTTP and stdio in both eras, with second principals, tokens of other issuers and
                          for others, replayed and altered answers; what a yes is good for; instructions in names

A test of the last one that passes is no finding; one that fails, or that could not tell, is. Every finding that stays
has its reason in {REASONS.name} beside this program. A finding without reason fails, and so does a reason without
finding, a scanner that looked at nothing, and one that no longer knows a poisoned text or a bad server.
"""
EXIT = """
exit codes
  0  every finding is explained, and every explanation is still needed
  1  one is not, or a scanner did not really scan

examples
  python -m tests.checks.scanners
  python -m tests.checks.scanners --only agentraas
"""


def main() -> int:
    """Run the scanners, compare, and print what must be looked at and the table."""
    parser = argparse.ArgumentParser(
        "python -m tests.checks.scanners",
        description=ABOUT,
        epilog=EXIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=tuple(SCANNERS), help="one scanner alone")
    arguments = parser.parse_args()
    end_as_by_ctrl_c()
    chosen = [arguments.only] if arguments.only else list(SCANNERS)
    scans, failures, not_tried = anyio.run(_scan, chosen)
    reasons = read_reasons(REASONS)
    held = {scan.scanner: compare(scan.findings, _of(scan.scanner, reasons)) for scan in scans}
    for verdict in held.values():
        for finding, times in verdict.unexplained.items():
            print(f"no reason given ({times}x): {finding}")
        for finding, times in verdict.stale.items():
            print(f"no longer found ({times}x): {finding}")
    print("\n".join([*failures, *_table((scan, held[scan.scanner]) for scan in scans), *not_tried]))
    return 0 if scans and not failures and all(verdict.holds for verdict in held.values()) else 1


async def _scan(chosen: Iterable[str]) -> tuple[list[Scan], list[str], list[str]]:
    """Run them one after the other beside one service that knows its callers."""
    scans, failures, not_tried = [], [], []
    with tempfile.TemporaryDirectory(prefix="kros-mcp-scanners-") as name:
        tokens = write_tokens(Path(name) / "tokens.toml", [CALLER])
        settings = {"KROS_TOKENS_FILE": str(tokens)}
        async with open_service(["--simulator"], settings, Path(name) / "service.log") as service:
            await service.served()
            for scanner in chosen:
                try:
                    scans.append(await SCANNERS[scanner](service.url, token_of(CALLER)))
                except NothingScannedError as exc:
                    failures.append(f"{scanner} FAILED: {exc}")
                except NotTriedError as exc:
                    not_tried.append(f"{scanner} was not tried: it {exc}")
    return scans, failures, not_tried


def _of(scanner: str, reasons: Counter[Finding]) -> Counter[Finding]:
    return Counter({finding: times for finding, times in reasons.items() if finding.scanner == scanner})


def _table(rows: Iterable[tuple[Scan, Verdict]]) -> list[str]:
    """Lines of a table: scanner, version, what was scanned, findings, explained, unexplained, seconds."""
    head = ("scanner", "version", "scanned", "findings", "explained", "unexplained", "stale", "seconds")
    cells = [
        head,
        *(
            (
                scan.scanner,
                scan.version,
                scan.what,
                str(len(scan.findings)),
                str(verdict.explained.total()),
                str(verdict.unexplained.total()),
                str(verdict.stale.total()),
                f"{scan.seconds:.0f}",
            )
            for scan, verdict in rows
        ),
    ]
    return in_columns(cells)


if __name__ == "__main__":
    sys.exit(main())
