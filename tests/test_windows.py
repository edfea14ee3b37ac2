"""The microscope's PC runs Windows, these tests mostly do not: checks of Windows from other systems.

Three proofs: without the modules and the parts of `os` and `signal` that Windows lacks, all modules import and the
commands of a microscope's day run; no source names what Windows lacks; and the commands run without a console.
That every package we need has wheels for Windows is checked by `.ci/windows_wheels`, which needs the network.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import os
import pkgutil
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("client/mhfd_client", "functions/mhfd") for path in (ROOT / folder).rglob("*.py"))

# Empty: all of mhfd imports and passes. A module that only an endpoint (Linux) needs may be named here.
ENDPOINT_ONLY: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODULES = _words("_curses crypt curses fcntl grp nis posix pty pwd readline resource spwd syslog termios tty")
IN_OS = _words(
    """
    O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK WNOHANG chown chroot confstr ctermid fchmod fchown fork forkpty getegid
    geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid initgroups killpg lchown mkfifo mknod
    nice openpty pathconf posix_fadvise posix_fallocate posix_spawn pread pwrite register_at_fork sched_getaffinity
    sched_setaffinity sendfile setegid seteuid setgid setgroups setpgid setpgrp setpriority setsid setuid statvfs sync
    sysconf tcgetpgrp ttyname uname wait wait3 wait4
    """
)
IN_SIGNAL = _words(
    """
    SIGALRM SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH alarm pause
    pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait
    """
)
IN_TIME = _words("tzset clock_settime CLOCK_BOOTTIME")
LACKING = {"os": IN_OS, "signal": IN_SIGNAL, "time": IN_TIME}


# --- A process that is as Windows is ----------------------------------------------------------------------------------


def become_windows() -> None:
    """Hide from everybody the modules, and from mhfd's own code the functions, that Windows lacks."""

    class Hidden(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name in MODULES:
                raise ModuleNotFoundError(f"Windows has no module '{name}'", name=name)

    class Windows(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            names = LACKING[super().__getattribute__("__name__")]
            if name in names and sys._getframe(1).f_globals.get("__name__", "").startswith("mhfd"):
                raise AttributeError(f"Windows has no {super().__getattribute__('__name__')}.{name}")
            return super().__getattribute__(name)

    for name in MODULES - {"posix"}:  # `os` itself is made of that one
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Hidden())
    for module in LACKING:
        importlib.import_module(module).__class__ = Windows


def import_everything() -> None:
    """Import every module of `mhfd`, but for those of Linux."""
    import warnings

    warnings.simplefilter("ignore")  # filelock says that it has no fcntl
    for package in ("mhfd", "mhfd_client"):
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
            if not found.name.endswith("__main__") and found.name not in ENDPOINT_ONLY:
                importlib.import_module(found.name)
                sys.stdout.write(f"{found.name}\n")


def run_commands(*commands: Sequence[str], console: bool = True) -> None:
    """Run commands in turn in this process; a failing one ends it."""
    import warnings

    from mhfd_client.cli import main

    warnings.simplefilter("ignore")
    if not console:
        sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]  # as pythonw does
    for command in commands:
        try:
            main(command, standalone_mode=False)
        except SystemExit as end:  # noqa: PERF203 - each ends so
            if end.code:
                raise


def in_a_child(code: str, folder: Path, *, timeout_s: float = 120.0) -> str:
    """Run code here, in an interpreter of its own; its output."""
    program = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); from test_windows import *\n{code}"
    environment = {**os.environ, "MHFD_CONFIG": "", "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_every_module_imports_without_what_windows_lacks(tmp_path: Path) -> None:
    imported = in_a_child("become_windows(); import_everything()", tmp_path).split()
    assert {"mhfd_client.cli.watch", "mhfd_client.logs", "mhfd_client.compute.local", "mhfd.images"} <= set(imported)


@pytest.mark.parametrize("code", ["import fcntl", "import pwd", "from grp import getgrall", "import resource"])
def test_the_disguise_hides_modules(code: str, tmp_path: Path) -> None:
    in_a_child(f"become_windows()\nwith pytest.raises(ModuleNotFoundError): exec({code!r})", tmp_path)


def test_the_disguise_hides_functions_from_our_code_alone(tmp_path: Path) -> None:
    code = (
        "become_windows()\n"
        "assert os.getuid() >= 0\n"
        "ours = {'__name__': 'mhfd_client.x', 'os': os, 'signal': signal}\n"
        "for lack in ('os.getuid', 'signal.SIGKILL', 'os.sched_getaffinity'):\n"
        "    with pytest.raises(AttributeError): eval(lack, ours)\n"
        "assert eval('os.cpu_count()', ours)"
    )
    in_a_child(code, tmp_path)


DAY = (
    ["simulate", "run", "--sections", "2", "--rows", "1", "--cols", "2", "--tile-px", "64"],
    ["score", "run", "--csv", "scores.csv", "--backend", "numpy"],
    ["replay", "run", "--into", "fed", "--speed", "max"],
)
WATCH = ["watch", "run", "--once", "--ledger", "ledger.db", "--log-dir", "logs", "--quiet"]
CONSOLES = pytest.mark.parametrize("console", [True, False], ids=["console", "pythonw"])


@CONSOLES
def test_a_microscopes_day_passes(console: bool, tmp_path: Path) -> None:
    in_a_child(f"become_windows(); run_commands(*{DAY}, console={console})", tmp_path)
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8").count("scored") == 4
    assert len(list((tmp_path / "fed").glob("*.tif"))) == 4


@CONSOLES
def test_a_folder_is_watched(console: bool, tmp_path: Path) -> None:
    from mhfd_client.ledger import open_ledger  # not at the top: children that import this file begin without mhfd

    in_a_child(f"become_windows(); run_commands({DAY[0]}, {WATCH}, console={console})", tmp_path)
    (log,) = (tmp_path / "logs").glob("mhfd-*.jsonl")
    assert log.stat().st_size > 0
    with open_ledger(tmp_path / "ledger.db", readonly=True) as ledger:
        (run,) = ledger.runs()
        assert ledger.summary(run.run_id).counts["scored"] == 4


# --- What the sources name --------------------------------------------------------------------------------------------


SEEN_AND_RIGHT = {  # file -> harmless findings of the check
    "client/mhfd_client/bench/machine.py": ["/proc/cpuinfo"],  # asked for where it exists
    "client/mhfd_client/config/endpoint.py": ["/home/em/mhfd"],  # an example of a place at the endpoint
    "client/mhfd_client/files/shares.py": ["/proc/self/mountinfo"],  # asked for on Linux
    "client/mhfd_client/files/whole.py": ["/dev/std", "/dev/fd/", "/proc/"],  # standard output by its name, elsewhere
    "functions/mhfd/worker/archive/files.py": ["/proc/", "read_text"],  # works without it
}


def complaints(source: str) -> list[str]:
    """Faults of a source on Windows: line and reason; branches that ask for the platform are left out."""
    found: list[str] = []
    _Reader(found).visit(ast.parse(source))
    return found


class _Reader(ast.NodeVisitor):
    """Leaves out `if sys.platform ...`, `if hasattr(os, ...)` and `try ... except ImportError`."""

    _ASKS = re.compile(r"sys\.platform|os\.name|hasattr\(|platform\.system")
    _CATCHES = re.compile(r"ImportError|ModuleNotFoundError|AttributeError")
    _PLACES = re.compile(r"(/tmp|/dev|/proc|/etc|/var|/usr|/bin|/opt|/home)(/|$)")
    _TEXT_CALLS = frozenset({"open", "read_text", "write_text", "fdopen", "TextIOWrapper", "NamedTemporaryFile"})

    def __init__(self, found: list[str]) -> None:
        self._found = found

    def visit_If(self, node: ast.If | ast.IfExp) -> None:
        if not self._ASKS.search(ast.unparse(node.test)):
            self.generic_visit(node)

    visit_IfExp = visit_If  # noqa: N815 - named as ast wants it

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Skip a function that asks for the platform and returns."""
        asks = (each for each in node.body if isinstance(each, ast.If) and self._ASKS.search(ast.unparse(each.test)))
        if not any(isinstance(each.body[-1], ast.Return | ast.Raise) for each in asks):
            self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        caught = " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type)
        for part in node.body if not self._CATCHES.search(caught) else ():
            self.visit(part)
        for rest in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(rest)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.partition(".")[0] in MODULES:
                self._say(node, f"imports {alias.name}")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if module in MODULES:
            self._say(node, f"imports {module}")
        for alias in node.names:
            if alias.name in LACKING.get(module, ()):
                self._say(node, f"imports {module}.{alias.name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and node.attr in LACKING.get(node.value.id, ()):
            self._say(node, f"uses {node.value.id}.{node.attr}")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):  # docstrings may
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str):
            return
        if self._PLACES.match(node.value):
            self._say(node, f"names the place {node.value}")
        if re.search(r"%-[dHIjmMSy]", node.value):
            self._say(node, f"{node.value!r}: Windows's strftime lacks %-")

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if name in self._TEXT_CALLS and "encoding" not in keywords and not self._is_binary(name, node, keywords):
            self._say(node, f"{name} without encoding, which is the local one on Windows")
        if ast.unparse(node.func) in ("os.rename", "os.renames") or (name == "rename" and len(node.args) == 1):
            self._say(node, "rename, which Windows refuses if the target exists: use replace")
        if "preexec_fn" in keywords or "start_new_session" in keywords or "process_group" in keywords:
            self._say(node, "starts a process as only POSIX can")
        if isinstance(shell := keywords.get("shell"), ast.Constant) and shell.value:
            self._say(node, "needs a shell")
        self.generic_visit(node)

    @staticmethod
    def _is_binary(name: str, node: ast.Call, keywords: dict[str | None, ast.expr]) -> bool:
        if (
            name == "open"
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value)
            in (
                "os",
                "Image",
                "self._connection",
                "Manifest",
                "reader",
                "zarr",
            )
        ):
            return True  # another open
        if name in ("read_text", "TextIOWrapper"):
            return name == "read_text" and len(node.args) == 1
        if name == "write_text":
            return len(node.args) == 2
        place = 1 if name in ("fdopen",) or isinstance(node.func, ast.Name) else 0
        mode = keywords.get("mode") or (node.args[place] if len(node.args) > place else None)
        if name == "NamedTemporaryFile" and mode is None:
            return True
        return isinstance(mode, ast.Constant) and isinstance(mode.value, str) and "b" in mode.value

    def _say(self, node: ast.stmt | ast.expr, reason: str) -> None:
        self._found.append(f"line {node.lineno}: {reason}")


def found_in(name: str) -> list[str]:
    return complaints((ROOT / name).read_text(encoding="utf-8"))


def test_no_source_names_what_windows_lacks() -> None:
    found = {name: found_in(name) for name in (path.relative_to(ROOT).as_posix() for path in SOURCES)}
    wrong = [
        f"{name}, {each}"
        for name, all_of_it in found.items()
        for each in all_of_it
        if not any(text in each for text in SEEN_AND_RIGHT.get(name, []))
    ]
    assert wrong == []


def test_no_exception_outlives_its_reason() -> None:
    for name, known in SEEN_AND_RIGHT.items():
        assert all(any(text in each for each in found_in(name)) for text in known), name


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from resource import getrusage",
        "from os import fork",
        "def f():\n    return os.getuid()",
        "signal.signal(signal.SIGHUP, f)",
        "os.kill(pid, signal.SIGKILL)",
        "if fast:\n    os.fork()",
        "try:\n    os.fork()\nexcept OSError:\n    pass",
        "here = Path('/tmp/x')",
        "'/dev/null'.encode()",
        "open('x')",
        "open('x', 'w')",
        "path.open('a')",
        "path.read_text()",
        "path.write_text('x')",
        "os.rename(a, b)",
        "path.rename(other)",
        "time.strftime('%-d %B')",
        "subprocess.run(x, shell=True)",
        "subprocess.Popen(x, start_new_session=True)",
    ],
)
def test_the_check_sees(source: str) -> None:
    assert len(complaints(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "if sys.platform != 'win32':\n    import fcntl",
        "try:\n    import pwd\nexcept ImportError:\n    pwd = None",
        "n = os.nice(1) if sys.platform != 'win32' else 0",
        "def f():\n    if not hasattr(os, 'sched_getaffinity'):\n        return 1\n    return os.sched_getaffinity(0)",
        "def f():\n    'put it into /tmp'\n    return os.getpid()",
        "open('x', 'rb')",
        "path.open('w', encoding='utf-8')",
        "path.read_text(encoding='utf-8')",
        "os.replace(a, b)",
        "os.kill(pid, signal.SIGTERM)",
        "Image.open(file)",
    ],
)
def test_the_check_lets_pass(source: str) -> None:
    assert complaints(source) == []


def test_the_lists_name_what_this_system_has_or_had() -> None:
    """A name that nobody has would hide nothing."""
    if sys.platform == "win32":
        assert not any(hasattr(os, name) for name in IN_OS) and not any(hasattr(signal, name) for name in IN_SIGNAL)
    elif sys.platform == "linux":
        assert [name for name in IN_OS if not hasattr(os, name)] == []
        assert [name for name in IN_SIGNAL if not hasattr(signal, name)] == []


def test_windows_can_store_every_name_of_ours() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    names = {*tracked, *(path.relative_to(ROOT).as_posix() for path in SOURCES)} - {""}
    forbidden = re.compile(r'[<>:"|?*\\]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
    assert [name for name in names if any(forbidden.search(part) for part in name.split("/"))] == []
    assert len({name.casefold() for name in names}) == len(names)
