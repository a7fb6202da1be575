"""`make fuzz SECONDS=n SEED=s`: libFuzzer on the C that reads shared memory, with the address and undefined-behaviour
sanitizers.

Each `fuzz_<target>.c` is one program. What stands in `corpus/<target>/` is run first, all of it: the inputs that showed
a defect once are among them. Then each target gets its share of the seconds, two at a time, from the seed (0: another
one each time, which is printed). An input that fails is kept in build/fuzz/found/<target>/ and printed; mend, and put
it into the corpus. What reached new code lies in build/fuzz/corpus/<target>/ and is begun with the next time.

Ends with `N targets passed, N failed`, and with exit code 1 where anything failed or nothing ran.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "fuzz"
LAYERS = ("base", "sys", "shm", "sync", "heap", "ring", "dict", "native")  # that do not know Python
FLAGS = ["-std=gnu11", "-O1", "-g", "-fno-omit-frame-pointer", "-UNDEBUG", "-pthread", "-D_GNU_SOURCE"]
SANITIZERS = "address,undefined"
WITH_PYTHON = {"wire"}
INPUT_SECONDS = 10  # an input that takes longer is one that hangs; a slow machine takes milliseconds
INPUT_BYTES = 1024
MEGABYTES = 2000
ENVIRONMENT = {
    # Python keeps what it has made until it ends, which is no leak.
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
    "PYTHONHOME": sys.base_prefix,
    "PYTHONPATH": str(ROOT),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one target."""

    target: str
    passed: bool
    report: str


def compiler() -> str | None:
    """Clang, if it has libFuzzer and its sanitizers."""
    for name in ("clang", *(f"clang-{version}" for version in range(20, 12, -1))):
        if shutil.which(name) is None:
            continue
        command = [name, f"-fsanitize=fuzzer,{SANITIZERS}", "-x", "c", "-", "-o", "/dev/null"]
        source = "int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d == 0 && n == 1; }"
        if subprocess.run(command, input=source, text=True, capture_output=True, check=False).returncode == 0:
            return name
    return None


class Builder:
    """Compiles into build/fuzz/objects/, and only what is older than its source or than any header."""

    def __init__(self, clang: str) -> None:
        self.folder = BUILD / "objects"
        self.folder.mkdir(parents=True, exist_ok=True)
        includes = [f"-I{ROOT / 'csrc'}", f"-I{HERE}", f"-I{sysconfig.get_path('include')}"]
        self.command = [clang, *FLAGS, *includes, f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=all"]
        headers = [*ROOT.glob("csrc/**/*.h"), *HERE.glob("*.h"), Path(__file__)]
        self.newest_header = max(header.stat().st_mtime for header in headers)

    def compile(self, source: Path) -> Path:
        """The object file of `source`."""
        target = self.folder / ("_".join(source.relative_to(ROOT).with_suffix(".o").parts))
        newest = max(source.stat().st_mtime, self.newest_header)
        if not target.exists() or target.stat().st_mtime < newest:
            command = [*self.command, "-fsanitize=fuzzer-no-link", "-c", str(source), "-o", str(target)]
            subprocess.run(command, check=True)
        return target

    def link(self, target: str) -> Path:
        """The program of one target."""
        program = BUILD / f"fuzz_{target}"
        layers = sorted(path.name for path in (ROOT / "csrc").iterdir()) if target in WITH_PYTHON else LAYERS
        sources = [HERE / f"fuzz_{target}.c", *(s for layer in layers for s in (ROOT / "csrc" / layer).glob("**/*.c"))]
        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(self.compile, sources))
        libraries = ["-lffi", "-lm", *(python_libraries() if target in WITH_PYTHON else [])]
        command = [*self.command, "-fsanitize=fuzzer", *map(str, objects), "-o", str(program), *libraries]
        subprocess.run(command, check=True)
        return program


def python_libraries() -> list[str]:
    """What links this Python into a program."""
    shared = sysconfig.get_config_var("Py_ENABLE_SHARED")
    folder = sysconfig.get_config_var("LIBDIR" if shared else "LIBPL")
    name = f"-lpython{sysconfig.get_config_var('LDVERSION')}"
    others = f"{sysconfig.get_config_var('LIBS')} {sysconfig.get_config_var('SYSLIBS')}".split()
    return [f"-L{folder}", f"-Wl,-rpath,{folder}", "-Wl,--export-dynamic", name, *others]


def run(program: Path, target: str, seconds: int, seed: int) -> Outcome:
    """The corpus, then `seconds` of new inputs."""
    found, corpus, fresh = BUILD / "found" / target, HERE / "corpus" / target, BUILD / "corpus" / target
    for folder in (found, corpus, fresh):
        folder.mkdir(parents=True, exist_ok=True)
    limits = [f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={INPUT_BYTES}"]
    where = [str(fresh), str(corpus)]  # the first is written to
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-artifact_prefix={found}/", "-print_final_stats=1"]
    done = subprocess.run(
        [str(program), *limits, *options, *where],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        errors="replace",
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    return Outcome(target, done.returncode == 0, done.stdout)


def show(outcome: Outcome) -> None:
    """One line, or all that a failed target has written at its end."""
    count = re.search(r"number_of_executed_units: (\d+)", outcome.report)
    covered = re.findall(r"cov: (\d+)", outcome.report)
    print(f"{'pass' if outcome.passed else 'FAIL'} {outcome.target}: {int(count[1]) if count else 0:,} inputs, "
          f"{covered[-1] if covered else 0} places reached", flush=True)  # fmt: skip
    if not outcome.passed:
        print(outcome.report[-6000:], flush=True)


def main() -> int:
    """Build all, run all."""
    targets = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help=f"of {' '.join(targets)} (default: all)")
    parser.add_argument("--seconds", type=int, default=120, help="of fuzzing, for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    clang = compiler()
    if clang is None:
        print("no clang with libFuzzer is there: apt-get install clang libclang-rt-14-dev", file=sys.stderr)
        return 2
    chosen = options.targets or targets
    seed = options.seed or random.randrange(1, 2**31)
    share = max(1, 2 * options.seconds // len(chosen)) if len(chosen) > 1 else options.seconds
    print(f"seed {seed}, {share} s each", flush=True)
    builder = Builder(clang)
    programs = {target: builder.link(target) for target in chosen}
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda t: run(programs[t], t, share, seed), chosen))
    for outcome in outcomes:
        show(outcome)
    passed = sum(outcome.passed for outcome in outcomes)
    print(f"{passed} targets passed, {len(outcomes) - passed} failed")
    return int(passed != len(chosen) or passed == 0)


if __name__ == "__main__":
    sys.exit(main())
