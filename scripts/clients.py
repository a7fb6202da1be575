"""`make clients`: real programs, unchanged, on the standard library and on fastmp; see tests/clients/run.py.

Makes .venv/clients (and one environment more for a program that is too big to share it), installs fastmp and the
programs in the versions that their files name, fetches the source distributions whose own tests are run, and runs them.
Arguments are those of run.py. What pip cannot get here is skipped, and said.
"""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from environments import ROOT, environment, install

sys.path.insert(0, str(ROOT / "tests" / "clients"))
from client import Client, choose, load_all, parse, python_of, sdist_of


def prepare_environment(name: str, clients: list[Client]) -> bool:
    """Make one environment with fastmp and what the programs need; tell whether that was possible."""
    print(f"clients: {name}: {', '.join(client.name for client in clients)}", flush=True)
    python = environment(name, Path(sys.executable))
    for stale in (ROOT / "build").glob("lib.*"):  # a module deleted since would be installed with the others
        shutil.rmtree(stale)
    try:
        install(python, str(ROOT), *sorted({requirement for client in clients for requirement in client.dependencies}))
    except subprocess.CalledProcessError:
        print(f"clients: {name}: not to be had here: skipped", flush=True)
        shutil.rmtree(ROOT / ".venv" / name)
        return False
    return True


def fetch_sdist(client: Client) -> None:
    """Unpack a source distribution into build/clients, once."""
    target = sdist_of(client)
    if target.exists():
        return
    folder = target.parent / "download"
    shutil.rmtree(folder, ignore_errors=True)
    pip = [python_of(client), "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps"]
    subprocess.run([*pip, "--dest", folder, client.sdist], check=True)
    (archive,) = folder.iterdir()
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
    (inside,) = folder.iterdir()
    inside.rename(target)


def main() -> int:
    """Prepare what the wanted programs need, and run them."""
    clients = choose(load_all(), parse(sys.argv[1:]))
    for name in sorted({client.environment for client in clients}):
        wanted = [client for client in clients if client.environment == name]
        if prepare_environment(name, wanted):
            for client in wanted:
                if client.sdist:
                    fetch_sdist(client)
    command = [sys.executable, ROOT / "tests" / "clients" / "run.py", *sys.argv[1:]]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
