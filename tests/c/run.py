"""Builds and runs the C unit programs: one per file tests/c/test_<unit>.c.

Each is linked with every C file of the layers that do not know Python, with the fault points compiled in.
Called by `make test`, `make asan` and `make tsan`; a developer runs `python tests/c/run.py ring lock`.
Ends with `N passed, N failed`, and with exit code 1 where anything failed or nothing ran.
"""

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent.parent
LAYERS = ("base", "sys", "shm", "sync", "heap", "ring", "dict", "native")
FLAGS = ["-std=c11", "-O2", "-g", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-UNDEBUG", "-pthread"]
DEFINES = ["-D_GNU_SOURCE", "-DFMP_FAULT_POINTS", f"-I{ROOT / 'csrc'}", f"-I{TESTS}"]
LIBRARIES = ["-lffi", "-lm"]
SANITIZERS = {
    None: [],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    # The fences of the event count are not seen by the thread sanitizer: gcc says so once per fence.
    "thread": ["-fsanitize=thread", "-Wno-tsan"],
}
ENVIRONMENT = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:die_after_fork=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
PROGRAM_SECONDS = 240


class Builder:
    """Compiles into build/c/<variant>/, and only what is older than its source or than any header."""

    def __init__(self, sanitize: str | None) -> None:
        self.folder = ROOT / "build" / "c" / (sanitize or "plain")
        self.folder.mkdir(parents=True, exist_ok=True)
        werror = ["-Werror"] if os.environ.get("FASTMP_WERROR") == "1" else []
        compiler = shlex.split(os.environ.get("CC", "cc"))
        self.command = [*compiler, *FLAGS, *SANITIZERS[sanitize], *werror, *DEFINES]
        headers = [*ROOT.glob("csrc/**/*.h"), *TESTS.glob("*.h"), Path(__file__)]
        self.newest_header = max(header.stat().st_mtime for header in headers)

    def compile(self, source: Path) -> Path:
        """The object file of `source`."""
        target = self.folder / ("_".join(source.relative_to(ROOT).with_suffix(".o").parts))
        newest = max(source.stat().st_mtime, self.newest_header)
        if not target.exists() or target.stat().st_mtime < newest:
            subprocess.run([*self.command, "-c", str(source), "-o", str(target)], check=True)
        return target

    def link(self, source: Path, objects: list[Path]) -> Path:
        """The program of one unit."""
        target = self.folder / source.stem
        parts = [self.compile(source), *objects]
        subprocess.run([*self.command, *map(str, parts), "-o", str(target), *LIBRARIES], check=True)
        return target


def without_randomised_addresses(command: list[str]) -> list[str]:
    """The thread sanitizer needs its own address ranges; some kernels' randomisation takes them."""
    return ["setarch", platform.machine(), "-R", *command]


def run_once(program: Path, sanitize: str | None) -> tuple[int, int, bool]:
    """Run one program: how many of its tests passed and failed, and whether a sanitizer complained."""
    command = without_randomised_addresses([str(program)]) if sanitize == "thread" else [str(program)]
    print(f"== {program.name}", flush=True)
    environment = {"CHECK_SECONDS": "120" if sanitize else "60", **os.environ, **ENVIRONMENT}
    try:
        done = subprocess.run(
            command, env=environment, timeout=PROGRAM_SECONDS, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as over:
        for output in (over.stdout, over.stderr):  # bytes, as far as it came
            print((output or b"").decode(errors="replace"), end="")
        print(f"FAIL {program.name}: over {PROGRAM_SECONDS} s")
        return 0, 1, False
    print(done.stdout + done.stderr, end="", flush=True)
    complained = bool(re.search(r"Sanitizer|runtime error:", done.stderr))
    counts = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE)
    if counts is None:
        print(f"FAIL {program.name}: ended with {done.returncode} before its last line")
        return 0, 1, complained
    return int(counts[1]), max(int(counts[2]), int(done.returncode != 0)), complained


def run(program: Path, sanitize: str | None) -> tuple[int, int]:
    """Run one program; what fails without a sanitizer's complaint, on a machine of unknown load, once more."""
    passed, failed, complained = run_once(program, sanitize)
    if failed and not complained:
        print(f"== {program.name}: once more")
        passed, failed, _ = run_once(program, sanitize)
    return passed, failed


def main() -> int:
    """Build all, then run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("units", nargs="*", help="only these (default: all)")
    parser.add_argument("--sanitize", choices=["address", "thread"])
    arguments = parser.parse_args()
    builder = Builder(arguments.sanitize)
    sources = sorted(source for layer in LAYERS for source in ROOT.glob(f"csrc/{layer}/**/*.c"))
    tests = sorted(TESTS.glob("test_*.c"))
    if arguments.units:
        tests = [TESTS / f"test_{unit}.c" for unit in arguments.units]
    try:
        objects = [builder.compile(source) for source in sources]
        programs = [builder.link(test, objects) for test in tests]
    except subprocess.CalledProcessError as error:
        print(f"FAIL: {shlex.join(error.cmd)}")
        return 1
    results = [run(program, arguments.sanitize) for program in programs]
    passed, failed = (sum(column) for column in zip(*results, strict=True)) if results else (0, 0)
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main())
