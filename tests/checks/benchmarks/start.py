"""Time from spawn to the answer to `initialize`, interleaved with a one-tool server on the same SDK.

Run it as `python -m tests.checks.benchmarks.start [--runs 15]`. It prints the ratio of the medians, and is no
test: a busy machine is no defect.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}


def seconds_to_answer(command: list[str], environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        taken = time.perf_counter() - begun
        process.stdin.close()
        process.wait(timeout=20)
    assert "serverInfo" in answer["result"]
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KROS_")}
        ours = environment | {
            "KROS_API_KEY": "kros_test_benchmark",
            "KROS_CONFIRMATION": "conversation",
            "KROS_JOURNAL_URL": f"sqlite:///{folder}/journal.sqlite3",
        }
        bare_command = [sys.executable, str(HERE / "bare_server.py")]
        our_command = [sys.executable, "-m", "kros_mcp"]
        pairs = [
            (seconds_to_answer(our_command, ours), seconds_to_answer(bare_command, environment))
            for _ in range(runs + 1)
        ][1:]
    our_median, bare_median = (statistics.median(column) for column in zip(*pairs, strict=True))
    paired = statistics.median(ours / bare for ours, bare in pairs)
    print(f"kros-mcp   {our_median * 1000:7.0f} ms, median of {runs}")
    print(f"one tool   {bare_median * 1000:7.0f} ms, median of {runs}")
    print(
        f"ratio      {paired:7.2f} pair by pair, the median of {runs} (target: at most 1.20); "
        f"{our_median / bare_median:.2f} of the two medians"
    )


if __name__ == "__main__":
    main()
