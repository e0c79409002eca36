"""Runs every check with every client against a broker of its own.

Usage: checks.py LOGWEIR [CLIENT...]. The last line says how many passed and failed.
"""

import importlib
import sys
import tempfile
import traceback
from pathlib import Path

from broker import Broker
from member import Member, wait

CLIENTS = ["confluent", "kafka_python", "aio"]
CODECS = ["none", "gzip", "lz4", "zstd"]
PARTITIONS = 4
RECORDS = 500


def check_topics(client: str, broker: Broker) -> None:
    """A topic has the partitions it was created with."""
    library = importlib.import_module(f"clients.{client}")
    library.create_topic(broker.bootstrap, "created", PARTITIONS)
    equal("partitions", library.partitions(broker.bootstrap, "created"), PARTITIONS)


def check_codecs(client: str, broker: Broker) -> None:
    """Each codec arrives, whole and in order."""
    library = importlib.import_module(f"clients.{client}")
    for codec in CODECS:
        topic = f"codec-{codec}"
        library.create_topic(broker.bootstrap, topic, PARTITIONS)
        sent = fill(library, broker, topic, range(RECORDS), codec)
        member = Member(client, broker.bootstrap, f"reads-{codec}", topic)
        try:
            wait(f"records with {codec}", [member], lambda: len(member.records) >= len(sent))
        finally:
            member.kill()
        equal(f"records with {codec}", sorted(member.records), sent)
        for partition in range(PARTITIONS):
            offsets = [offset for index, offset, _ in member.records if index == partition]
            equal(f"offsets with {codec}", offsets, list(range(RECORDS)))


def check_rebalance(client: str, broker: Broker) -> None:
    """Two members share the partitions; when one is killed, the other has them all."""
    library = importlib.import_module(f"clients.{client}")
    library.create_topic(broker.bootstrap, "shared", PARTITIONS)
    members = [Member(client, broker.bootstrap, "shares", "shared") for _ in range(2)]
    first, second = members
    try:
        both = lambda: len(first.assigned) == 2 and sorted(first.assigned + second.assigned) == [0, 1, 2, 3]
        wait("two partitions each", members, both)
        equal("members", library.members(broker.bootstrap, "shares"), 2)
        second.kill()
        wait("all partitions", [first], lambda: first.assigned == [0, 1, 2, 3])
        sent = fill(library, broker, "shared", range(RECORDS), "lz4")
        wait("all records", [first], lambda: len(first.records) >= len(sent))
        equal("records", sorted(first.records), sent)
    finally:
        for member in members:
            member.kill()


def check_restart(client: str, broker: Broker) -> None:
    """A killed broker has kept records and committed offsets."""
    library = importlib.import_module(f"clients.{client}")
    library.create_topic(broker.bootstrap, "kept", PARTITIONS)
    fill(library, broker, "kept", range(RECORDS), "zstd")
    expected = dict.fromkeys(range(PARTITIONS), RECORDS)
    committed = lambda: library.committed(broker.bootstrap, "keeps", "kept", PARTITIONS)
    member = Member(client, broker.bootstrap, "keeps", "kept")
    try:
        wait("all records", [member], lambda: len(member.records) >= PARTITIONS * RECORDS)
        wait("all commits", [member], lambda: committed() == expected)
    finally:
        member.kill()
    broker.kill_and_start()
    equal("committed offsets", committed(), expected)
    sent = fill(library, broker, "kept", range(RECORDS, RECORDS + 10), "zstd")
    member = Member(client, broker.bootstrap, "keeps", "kept")
    try:
        wait("the new records", [member], lambda: len(member.records) >= len(sent))
    finally:
        member.kill()
    equal("new records", sorted(member.records), sent)


def fill(library, broker: Broker, topic: str, offsets: range, codec: str) -> list[tuple[int, int, str]]:
    """Produces to every partition; returns what is to be read then, sorted."""
    sent = []
    for partition in range(PARTITIONS):
        payloads = [f"{partition} {offset} " + "x" * (offset % 300) for offset in offsets]
        library.produce(broker.bootstrap, topic, partition, [text.encode() for text in payloads], codec)
        sent += [(partition, offset, text) for offset, text in zip(offsets, payloads)]
    return sent


def equal(what: str, found, expected) -> None:
    if found != expected:
        raise RuntimeError(f"{what}: found {str(found)[:300]}, expected {str(expected)[:300]}")


def run(client: str, check, binary: str) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(binary, Path(directory))
        try:
            check(client, broker)
        except Exception:  # whatever a client raises is a failure of this check only
            print(f"FAILED {client}: {check.__doc__}\n{traceback.format_exc()}{broker.log()}", flush=True)
            return False
        finally:
            code = broker.stop()
        if code != 0:
            print(f"FAILED {client}: the broker ended with {code}", flush=True)
            return False
    print(f"ok {client}: {check.__doc__}", flush=True)
    return True


def main(binary: str, clients: list[str]) -> int:
    checks = [check_topics, check_codecs, check_rebalance, check_restart]
    results = [run(client, check, binary) for client in clients or CLIENTS for check in checks]
    failed = results.count(False)
    print(f"{results.count(True)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
