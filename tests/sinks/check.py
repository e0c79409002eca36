"""Waits until both servers hold each event once: `check.py OPENSEARCH_PORT CLICKHOUSE_PORT EVENTS [IP]`;
with an address, also that every event has it, as an address."""

import json
import sys
import time
from urllib.parse import quote
from urllib.request import Request, urlopen

search, house, expected = sys.argv[1], sys.argv[2], int(sys.argv[3])
address = sys.argv[4] if len(sys.argv) > 4 else None
stream = f"http://127.0.0.1:{search}/logs-logweir-default"
# Without a new event for so long nothing more is coming.
PATIENCE_SECONDS = 120


def ask(url, body=None):
    headers = {"content-type": "application/json"}
    request = Request(url, data=body, method="GET" if body is None else "POST", headers=headers)
    with urlopen(request, timeout=60) as answer:
        return answer.read()


def in_opensearch():
    """Documents. They are named after the events, and no two of an index have one name."""
    ask(f"{stream}/_refresh", b"")
    indices = json.loads(ask(f"http://127.0.0.1:{search}/_data_stream/logs-logweir-default"))
    assert len(indices["data_streams"][0]["indices"]) == 1, "names are unique within one index only"
    count = json.loads(ask(f"{stream}/_count"))["count"]
    return count, count


def in_clickhouse():
    condition = f" AND source_ip = '{address}'" if address else ""
    query = (
        "SELECT count(), uniqExact(logweir_source, log_offset) FROM default.logweir_events FINAL "
        "WHERE event_original != ''" + condition
    )
    return tuple(map(int, ask(f"http://127.0.0.1:{house}/?query={quote(query)}", b"").split()))


def repeats_in_clickhouse():
    """Rows of an event that came twice, with another time."""
    event = f"logweir_source = '{'f' * 32}'"
    for second in 1, 2:
        row = f"INSERT INTO default.logweir_events (timestamp, logweir_source) SELECT {second}, '{'f' * 32}'"
        ask(f"http://127.0.0.1:{house}/?query={quote(row)}", b"")
    query = f"SELECT count() FROM default.logweir_events FINAL WHERE {event}"
    return int(ask(f"http://127.0.0.1:{house}/?query={quote(query)}", b""))


def wait_for(name, counts):
    deadline, found = time.monotonic() + PATIENCE_SECONDS, (0, 0)
    while found[0] < expected:
        assert time.monotonic() < deadline, f"{name} holds {found} events of {expected}"
        try:
            now = counts()
        except OSError:
            now = found
        if now == found:
            time.sleep(0.2)
        else:
            deadline, found = time.monotonic() + PATIENCE_SECONDS, now
    assert found == (expected, expected), f"{name} holds {found} events, different ones, of {expected}"
    print(f"{name} holds each of {expected} events once")


wait_for("OpenSearch", in_opensearch)
wait_for("ClickHouse", in_clickhouse)
assert repeats_in_clickhouse() == 1, "a repeat with another time replaces its event"
if address:
    mapping = json.loads(ask(f"{stream}/_mapping"))
    fields = next(iter(mapping.values()))["mappings"]["properties"]
    assert fields["source"]["properties"]["ip"]["type"] == "ip", fields["source"]
    network = quote(f'source.ip:"{address}/8"')
    found = json.loads(ask(f"{stream}/_count?q={network}"))
    assert found["count"] == expected, found
    print("OpenSearch finds addresses by their network")
    print("3 passed, 0 failed")
