"""`fastmp run`, and FASTMP_INSTALL=1 with the .pth file: as `python script.py`, but on fastmp."""

import shutil
import signal
import venv

import pytest
from support.programs import ROOT, home, python

import fastmp
from fastmp.__main__ import PTH, main

SURROUNDINGS = """
import sys, __main__
print(sys.argv, __name__, __file__, sys.path[0], __main__.__dict__ is globals(), __spec__ and __spec__.name)
print(sys.flags.dev_mode, sys.stdin.read())
"""
WHOSE = "import multiprocessing; print(type(multiprocessing.Queue()).__module__)"


def run(*arguments, **options):
    return python("-m", "fastmp", "run", *arguments, **options)


@pytest.fixture
def write(tmp_path):
    def write_script(text, name="script.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_script


def same_as_python(*arguments, **options):
    """Run with and without fastmp: everything that can be seen from outside is the same."""
    ours, standard = run(*arguments, **options), python(*arguments, **options)
    assert (ours.returncode, ours.stdout, ours.stderr) == (standard.returncode, standard.stdout, standard.stderr)
    return ours


def test_surroundings_of_a_script(write):
    assert "'a', '-b'" in same_as_python(write(SURROUNDINGS), "a", "-b", stdin="text").stdout


def test_options_of_python(write):
    assert "True" in same_as_python("-X", "dev", write(SURROUNDINGS)).stdout
    assert python("-X", "dev", "-m", "fastmp", "run", write(SURROUNDINGS)).stdout.endswith("True \n")


def test_module(write):
    path = write(SURROUNDINGS, "some_module.py")
    env = {"PYTHONPATH": str(path.parent)}
    assert same_as_python("-m", "some_module", "x", env=env).stdout.startswith(f"['{path}', 'x'] __main__")


def test_folder_with_main(write, tmp_path):
    write(SURROUNDINGS, "__main__.py")
    assert str(tmp_path) in same_as_python(tmp_path).stdout


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.exit(3)",
        "import sys; sys.exit('words')",
        "def broken():\n    1 / 0\nbroken()",
        "this is no Python",
        "import os; os.kill(os.getpid(), 9)",
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    ],
)
def test_how_it_ends(write, text):
    assert same_as_python(write(text)).returncode in (1, 3, -signal.SIGKILL, -signal.SIGINT)


def test_nothing_to_run(tmp_path):
    assert same_as_python(tmp_path / "missing.py").returncode == 2
    assert same_as_python("-m", "no_such_module").returncode == 1


def test_it_is_on_fastmp(write):
    for arguments in ([write(WHOSE)], ["-c", WHOSE]):
        assert run(*arguments).stdout == "fastmp.queues\n"


def test_child_pythons_inherit(write):
    child = write(WHOSE, "child.py")
    text = f"import subprocess, sys; subprocess.run([sys.executable, {str(child)!r}], check=True)"
    assert run(write(text)).stdout == "fastmp.queues\n"


def test_a_program_without_processes_never_meets_fastmp(write):
    text = "import sys; print([name for name in sys.modules if 'multiprocessing' in name or name.startswith('fastmp')])"
    assert run(write(text)).stdout == "[]\n"


def test_processes_of_a_script(write):
    text = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

def double(x):
    return 2 * x

if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool, ProcessPoolExecutor(2) as executor:
        print(pool.map(double, range(3)), list(executor.map(double, range(3))))
        print(type(pool).__module__, type(executor).__module__)
"""
    assert run(write(text)).stdout.splitlines() == [
        "[0, 2, 4] [0, 2, 4]",
        "fastmp.pool fastmp.concurrent.futures.process",
    ]


def test_hidden_sitecustomize_is_executed(write):
    path = write("import os\nif 'FASTMP_INSTALL' in os.environ: print('the user has one')", "sitecustomize.py")
    result = run("-c", WHOSE, env={"PYTHONPATH": str(path.parent)})
    assert result.stdout == "the user has one\nfastmp.queues\n"


def test_fastmps_folder_hides_nothing(write):
    path = write("print('mine')", "setup.py")  # fastmp's source tree has a setup.py too
    assert (
        run("-c", "import sys; sys.path.remove(''); import setup", env={"PYTHONPATH": str(path.parent)}).stdout
        == "mine\n"
    )


# ---- the command line itself


def test_usage(capsys):
    for arguments in ([], ["fly"], ["run"]):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("fastmp: ")
        assert "usage: fastmp run" in err
    for arguments in (["--help"], ["run", "--help"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out.startswith("usage: fastmp run")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastmp {fastmp.__version__}\n"


def test_version_is_the_packages():
    line = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version"))
    assert line == f'version = "{fastmp.__version__}"'


# ---- the .pth file


@pytest.fixture(scope="module")
def armed_python(tmp_path_factory):
    """A Python whose site-packages hold the .pth file, and a way to this fastmp."""
    folder = tmp_path_factory.mktemp("armed")
    venv.create(folder, symlinks=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    shutil.copy(ROOT / PTH, site_packages)
    (site_packages / "a_source_tree.pth").write_text(f"{home()}\n")
    return folder / "bin" / "python"


@pytest.mark.parametrize("option", ["-u", "-I", "-E"])
def test_environment_variable_alone(armed_python, option):
    script = f"import sys; print('multiprocessing' in sys.modules); {WHOSE}"
    result = python(option, "-c", script, executable=armed_python, env={"FASTMP_INSTALL": "1"})
    assert (result.stdout, result.stderr) == ("False\nfastmp.queues\n", "")


@pytest.mark.parametrize("value", [None, "", "0"])
def test_without_the_environment_variable(armed_python, value):
    env = {} if value is None else {"FASTMP_INSTALL": value}
    result = python("-c", WHOSE, executable=armed_python, env=env)
    assert (result.stdout, result.stderr) == ("multiprocessing.queues\n", "")


def test_run_with_the_pth_leaves_pythonpath_alone(armed_python):
    text = "import os; print(os.environ.get('PYTHONPATH'), os.environ['FASTMP_INSTALL'])"
    env = {"PYTHONPATH": "somewhere"}
    result = python("-m", "fastmp", "run", "-c", text, executable=armed_python, env=env)
    assert result.stdout == "somewhere 1\n"
