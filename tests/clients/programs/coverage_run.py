"""`coverage run --concurrency=multiprocessing`: what workers executed must be in the report."""
# /// script
# dependencies = ["coverage==7.17.4"]
# [tool.client]
# title = "`coverage run --concurrency=multiprocessing`"
# quick = true
# # a worker that was given no task says so
# replace = [["^.*(CoverageWarning: No data was collected|_warn..No data was).*\\n", ""]]
# files = { ".coveragerc" = "[run]\nbranch = true\n", "program.py" = """
# import multiprocessing
# from concurrent.futures import ProcessPoolExecutor
#
# def in_pool(x):
#     y = x + 1
#     return y * 2
#
# def in_process(q):
#     z = 3
#     q.put(z)
#
# def in_executor(x):
#     if x > 100:
#         return 'never'
#     return x
#
# def never():
#     return 1
#
# if __name__ == '__main__':
#     with multiprocessing.Pool(2) as pool:
#         print(pool.map(in_pool, range(10)))
#         pool.close()
#         pool.join()
#     q = multiprocessing.Queue()
#     p = multiprocessing.Process(target=in_process, args=(q,))
#     p.start()
#     print(q.get())
#     p.join()
#     with ProcessPoolExecutor(2) as executor:
#         print(list(executor.map(in_executor, range(10))))
# """ }
# ///

import subprocess
import sys


def coverage(*arguments):
    done = subprocess.run([sys.executable, "-m", "coverage", *arguments], capture_output=True, text=True, check=False)
    print(done.returncode, done.stdout, done.stderr, sep="\n")  # each warning is a line of its own


if __name__ == "__main__":
    coverage("run", "--concurrency=multiprocessing", "--parallel-mode", "program.py")
    coverage("combine", "--quiet")
    coverage("report", "--show-missing")
