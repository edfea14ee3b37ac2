"""The Transfer service as a test sees it: a process to start and kill, folders to move between, faults to set."""

from __future__ import annotations

import http.client
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any, cast

from loopback.broker import free_port, wait_until
from loopback.guard import Guarded

START_TIMEOUT_S = 20.0
ANSWER_S = 10.0
TESTS = Path(__file__).parents[1]

Json = dict[str, Any]


class Transfer:
    """Globus Transfer with its state in `folder`; ``kill()`` and ``start()`` keep the port, the tasks and the files.

    Attributes
    ----------
    environment : variables that lead mhfd's client to it, and to no other service
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.collections: dict[str, Json] = {}
        self._process: Guarded | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "GLOBUS_SDK_SERVICE_URL_TRANSFER": f"{self.url}/",
            "GLOBUS_SDK_SERVICE_URL_AUTH": f"{self.url}/",
            "GLOBUS_COMPUTE_CLIENT_ID": str(uuid.uuid4()),
            "GLOBUS_COMPUTE_CLIENT_SECRET": "loopback",
            "GLOBUS_COMPUTE_USER_DIR": str(self.folder / "tokens"),
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_collections()
        command = [sys.executable, "-m", "loopback.transfer_service", str(self.folder), str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        self._process = Guarded(command, log=self.folder / "transfer.log", cwd=self.folder, env=environment)
        process = self._process
        wait_until(lambda: self._answers() or not process.alive(), START_TIMEOUT_S, "the Transfer service answers")
        if not self._answers():
            raise RuntimeError(f"The Transfer service did not start:\n{(self.folder / 'transfer.log').read_text()}")

    def running(self) -> bool:
        return self._process is not None and self._process.alive()

    def kill(self) -> None:
        """Kill it in the middle of its work."""
        if self._process is not None:
            self._process.stop(0)
            self._process = None

    def calm(self) -> None:
        """No faults and no tasks; does nothing while it is not running."""
        if self.running():
            self.set(clear=True, forget_tasks=True)

    def collection(self, folder: Path, *, consent: bool = False, home: str = "/", session: Json | None = None) -> str:
        """The UUID of a new collection that shows `folder`; with `consent`, one that needs the data_access scope.

        `home` is the folder in it that paths call ``/~/``; `session` what it wants of a sign-in, as Globus calls it:
        {"session_required_single_domain": ["example.org"], "session_required_mfa": True}.
        """
        folder.mkdir(parents=True, exist_ok=True)
        name = str(uuid.uuid4())
        self.collections[name] = {"folder": str(folder), "consent": consent, "home": home, "session": session}
        if self.running():
            self._write_collections()
            self._ask("POST", "/collections", self.collections)
        return name

    def change(self, collection: str, **about: Any) -> None:
        """Change what a collection wants; see `collection`."""
        self.collections[collection] |= about
        self._write_collections()
        self._ask("POST", "/collections", self.collections)

    def set(self, **faults: Any) -> None:
        """See `TransferFaults`; also `refuse` ({"status", "times", "kind", "retry_after_s"}), `expire_tokens`,
        `forget_tasks`, `cancel_as_admin` (a message) and `clear`."""
        self._ask("POST", "/faults", faults)

    def requests(self, kind: str | None = None) -> list[Json]:
        """The requests that were answered, by the names of the routes in transfer_service.py."""
        found = self._ask("GET", "/requests")["requests"]
        return [each for each in found if kind in (None, each["kind"])]

    def _write_collections(self) -> None:
        (self.folder / "collections.json").write_text(json.dumps(self.collections), encoding="utf-8")

    def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = cast(Json, json.loads(response.read()))
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(answer["message"])
        return answer

    def _answers(self) -> bool:
        try:
            self._ask("GET", "/requests")
        except OSError:
            return False
        return True
