"""A report as PDF: printed by a browser of this machine, or by WeasyPrint."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mhfd.contract import ExitCode, MhfdError
from mhfd.extras import install_hint
from mhfd_client.files.whole import written

BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge",
    "microsoft-edge-stable",
)  # fmt: skip
PLACES = {
    "win32": (r"Google\Chrome\Application\chrome.exe", r"Microsoft\Edge\Application\msedge.exe"),
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ),
}
"""Where browsers lie that are in no PATH; on Windows below the folders of programs."""

PRINT_S = 180


class PdfError(MhfdError):
    """There is nothing that makes a PDF, or it failed; the message says what to do."""

    exit_code = ExitCode.CONFIG


def check_pdf() -> None:
    """Find out before the work is done that no PDF can be made.

    Raises
    ------
    PdfError
        Neither a browser nor WeasyPrint is there.
    """
    if find_browser() is None and find_spec("weasyprint") is None:
        raise PdfError(
            "a PDF is printed by Chromium, Chrome or Edge, or made by WeasyPrint, and neither is here: install a "
            f"browser so that it is in PATH, or {install_hint('pdf')}; or print the HTML file from a browser"
        )


def write_pdf(page: str, path: Path) -> None:
    """Write a report, given as HTML, as PDF.

    Raises
    ------
    PdfError
        Nothing here can, or it failed.
    """
    check_pdf()
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="mhfd-pdf-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source, made = folder / "report.html", folder / "report.pdf"
        source.write_bytes(page.encode())
        if browser is not None:
            _print(browser, source, made, folder / "profile")
        else:
            importlib.import_module("weasyprint").HTML(filename=str(source)).write_pdf(str(made))
        with written(path) as out:
            out.write(made.read_bytes())


def find_browser() -> str | None:
    """A browser that prints; None where there is none."""
    return next(_browsers(), None)


def _browsers() -> Iterator[str]:
    yield from (found for name in BROWSERS if (found := shutil.which(name)))
    roots = [os.environ.get(name, "") for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")]
    for place in PLACES.get(sys.platform, ()):
        for file in [Path(root, place) for root in roots if root] if sys.platform == "win32" else [Path(place)]:
            if file.is_file():
                yield str(file)


def _print(browser: str, source: Path, made: Path, profile: Path) -> None:
    """Have a browser print, with a profile of its own: one that runs already would take the order, and say nothing."""
    command = [
        browser, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions", f"--user-data-dir={profile}",
        "--no-pdf-header-footer", "--print-to-pdf-no-header", f"--print-to-pdf={made}", source.as_uri(),
    ]  # fmt: skip
    if getattr(os, "geteuid", lambda: 1)() == 0:
        command.insert(1, "--no-sandbox")  # Chromium starts for root in no other way
    try:
        done = subprocess.run(command, capture_output=True, timeout=PRINT_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PdfError(f"{browser} made no PDF: {error}; print the HTML file from a browser instead") from error
    if not made.is_file():
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PdfError(f"{browser} made no PDF: {''.join(last) or f'exit code {done.returncode}'}")
