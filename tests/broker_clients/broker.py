"""`logweir broker` as a process that can be killed and started again on the same port and data."""

import ipaddress
import os
import re
import signal
import subprocess
from pathlib import Path


class Broker:
    """Serves from `__init__` on; `bootstrap` stays the same over restarts."""

    def __init__(self, binary: str, directory: Path) -> None:
        self._binary = binary
        self._directory = directory
        # An address of this process alone: nobody gets the port while the broker is down.
        self.bootstrap = f"{ipaddress.IPv4Address(0x7F000000 | os.getpid())}:0"
        self._start()

    def _start(self) -> None:
        command = [self._binary, "broker", "--listen", self.bootstrap, "--data", self._directory / "data"]
        with open(self._directory / "broker.log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        said = self._process.stdout.readline()
        match = re.fullmatch(r"listening on (\S+:\d+)\n", said)
        if match is None:
            raise RuntimeError(f"the broker says {said!r} instead of its address: {self.log()}")
        self.bootstrap = match[1]

    def kill_and_start(self) -> None:
        self._process.kill()
        self._process.wait()
        self._start()

    def stop(self) -> int:
        """Asks it to end; returns its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=120)

    def log(self) -> str:
        return (self._directory / "broker.log").read_text(errors="replace")[-2000:]
