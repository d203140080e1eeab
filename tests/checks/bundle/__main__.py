"""Build the bundle from the clone and from an installed wheel, and try both as Claude Desktop would."""

import sys
import tempfile
import zipfile
from pathlib import Path
from subprocess import DEVNULL, run

import anyio

from tests.checks.bundle.desktop import CAP, POLICY, try_out, try_simulator, validate_and_unpack
from tests.support.columns import in_columns
from tests.support.processes import end_as_by_ctrl_c

ROOT = Path(__file__).parents[3]
_BUNDLE = ("kros-mcp", "bundle", "--privacy-policy", POLICY)
_HEAD = ("from", "files", "KiB", "mcpb", "start", "tools", "search NG", "cap of the form", "simulator")


def main() -> int:
    """Print a table of both; any step that fails ends it with a traceback that says which."""
    end_as_by_ctrl_c()
    with tempfile.TemporaryDirectory(prefix="kros-bundle-") as name:
        folder = Path(name)
        built = {"clone": from_clone(folder), "wheel": from_wheel(folder)}
        rows, failed = [_HEAD], False
        for source, bundle in built.items():
            unpacked = folder / f"{source}-unpacked"
            manifest = validate_and_unpack(bundle, unpacked)
            answered = anyio.run(try_out, unpacked, folder / source)
            in_force = answered.max_purchase_cents == CAP * 100
            alone = anyio.run(try_simulator, unpacked, folder / f"{source}-alone")
            told = (answered.quoted, alone.quoted) == ("test", "simulator")
            rows.append(
                (
                    source,
                    str(files_in(bundle)),
                    str(bundle.stat().st_size // 1024),
                    "valid",
                    f"{answered.seconds:.1f} s",
                    str(answered.tools),
                    f"{answered.numbers} numbers",
                    "in force" if in_force else "LOST",
                    "told, no key" if told else "NOT TOLD",
                )
            )
            failed |= answered.tools != len(manifest["tools"]) or not answered.numbers or not in_force or not told
        same = built["clone"].read_bytes() == built["wheel"].read_bytes()
        print(*in_columns(rows), sep="\n")
        print(f"Both are {'the same, byte for byte' if same else 'DIFFERENT'}.")
    return 0 if same and not failed else 1


def files_in(bundle: Path) -> int:
    """Count the files in a bundle."""
    with zipfile.ZipFile(bundle) as archive:
        return len(archive.namelist())


def from_clone(folder: Path) -> Path:
    """Write the bundle as somebody in a clone does."""
    bundle = folder / "clone.mcpb"
    run(["uv", "run", "--quiet", *_BUNDLE, str(bundle)], cwd=ROOT, check=True, stdout=DEVNULL)  # noqa: S607
    return bundle


def from_wheel(folder: Path) -> Path:
    """Build the wheel, install it in an environment of its own, and let that write the bundle."""
    bundle = folder / "wheel.mcpb"
    run(["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder)], cwd=ROOT, check=True)  # noqa: S607
    wheel = next(folder.glob("*.whl"))
    alone = ["uv", "run", "--quiet", "--isolated", "--no-project", "--with", str(wheel)]
    run([*alone, *_BUNDLE, str(bundle)], cwd=folder, check=True, stdout=DEVNULL)
    return bundle


if __name__ == "__main__":
    sys.exit(main())
