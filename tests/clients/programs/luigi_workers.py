"""luigi with two workers: a process of its own class for each task, and a queue for their results."""
# /// script
# dependencies = ["luigi==3.8.1"]
# [tool.client]
# title = "luigi: 2 workers"
# replace = [["pid|\\d{4,}", "PID"]]
# ///

from pathlib import Path

import luigi


class Part(luigi.Task):
    number = luigi.IntParameter()

    def output(self):
        return luigi.LocalTarget(f"part-{self.number}.txt")

    def run(self):
        if self.number == 7:
            raise ValueError("seven")
        with self.output().open("w") as file:
            file.write(str(self.number**2))


class Total(luigi.Task):
    count = luigi.IntParameter()

    def requires(self):
        return [Part(number) for number in range(self.count)]

    def output(self):
        return luigi.LocalTarget(f"total-{self.count}.txt")

    def run(self):
        with self.output().open("w") as file:
            file.write(str(sum(int(part.open().read()) for part in self.input())))


if __name__ == "__main__":
    print(luigi.build([Total(6)], workers=2, local_scheduler=True, log_level="CRITICAL"))
    print(Path("total-6.txt").read_text())
    print(luigi.build([Total(9)], workers=2, local_scheduler=True, log_level="CRITICAL"))
