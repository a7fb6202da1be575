"""cutadapt with two worker processes: pipes by a context of its own, `connection.wait`, bytes in large chunks."""
# /// script
# dependencies = ["cutadapt==5.2"]
# [tool.client]
# title = "cutadapt -j 2"
# rounds = 1
# ///

import hashlib
import random
import subprocess
import sys
from pathlib import Path


def write_reads(path, count):
    random.seed(7)
    with path.open("w") as stream:
        for number in range(count):
            read = "".join(random.choices("ACGT", k=60)) + "AGATCGGAAGAGC" * (number % 3)
            stream.write(f"@read{number}\n{read}\n+\n{'I' * len(read)}\n")


def main():
    source, target = Path("reads.fastq"), Path("trimmed.fastq")
    write_reads(source, 60_000)
    options = ["-j", "2", "--buffer-size", "200000", "--quiet", "-a", "AGATCGGAAGAGC", "-m", "20"]
    command = [sys.executable, "-m", "cutadapt", *options, "-o", target, source]
    print(subprocess.run(command, timeout=100, check=False).returncode)
    print(hashlib.sha256(target.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
