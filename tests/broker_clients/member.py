"""A member of a consumer group in a process of its own, so that it can be killed.

As a program: member.py CLIENT BOOTSTRAP GROUP TOPIC. Says what happens in lines of JSON.
"""

import importlib
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

DEADLINE_SECONDS = 180


class Member:
    """Started by `__init__`, killed by `kill`. Keeps what the process has said."""

    def __init__(self, client: str, bootstrap: str, group: str, topic: str) -> None:
        command = [sys.executable, Path(__file__), client, bootstrap, group, topic]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._said: queue.Queue = queue.Queue()
        self._complaints: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._complain, daemon=True).start()
        self.assigned: list[int] = []
        self.records: list[tuple[int, int, str]] = []

    def _read(self) -> None:
        for line in self._process.stdout:
            self._said.put(json.loads(line))
        self._said.put(None)

    def _complain(self) -> None:
        self._complaints.extend(self._process.stderr)

    def take(self, seconds: float) -> None:
        """Takes over what it says within this time, or as soon as it says something."""
        try:
            event = self._said.get(timeout=seconds)
        except queue.Empty:
            return
        if event is None:
            raise RuntimeError(f"the member has ended: {''.join(self._complaints)[-1500:]}")
        what, told = event
        if what == "assigned":
            self.assigned = told
        else:
            self.records.append(tuple(told))

    def kill(self) -> None:
        """At once, without a good-bye to the group."""
        self._process.kill()
        self._process.wait()


def wait(what: str, members: list[Member], is_so) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        for member in members:
            member.take(0.02)
        if time.monotonic() > deadline:
            seen = [(member.assigned, len(member.records)) for member in members]
            raise RuntimeError(f"waited in vain for {what}; (partitions, records) of the members: {seen}")


if __name__ == "__main__":
    client, bootstrap, group, topic = sys.argv[1:]
    importlib.import_module(f"clients.{client}").member(
        bootstrap, group, topic, lambda what, told: print(json.dumps([what, told]), flush=True)
    )
