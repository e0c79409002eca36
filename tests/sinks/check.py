"""Waits until both servers hold each event once: `check.py OPENSEARCH_PORT CLICKHOUSE_PORT EVENTS`."""

import json
import sys
import time
from urllib.parse import quote
from urllib.request import Request, urlopen

search, house, expected = sys.argv[1], sys.argv[2], int(sys.argv[3])
stream = f"http://127.0.0.1:{search}/logs-logweir-default"


def ask(url, body=None):
    headers = {"content-type": "application/json"}
    request = Request(url, data=body, method="GET" if body is None else "POST", headers=headers)
    with urlopen(request, timeout=10) as answer:
        return answer.read()


def in_opensearch():
    ask(f"{stream}/_refresh", b"")
    twice = {"terms": {"field": "log.offset", "min_doc_count": 2}}
    query = {"size": 0, "track_total_hits": True, "aggs": {"twice": twice}}
    found = json.loads(ask(f"{stream}/_search", json.dumps(query).encode()))
    events = found["hits"]["total"]["value"]
    return events, events - len(found["aggregations"]["twice"]["buckets"])


def in_clickhouse():
    query = (
        "SELECT count(), uniqExact(logweir_source, log_offset) FROM default.logweir_events FINAL "
        "WHERE event_original != '' AND source_ip = '10.0.0.7'"
    )
    return tuple(map(int, ask(f"http://127.0.0.1:{house}/?query={quote(query)}", b"").split()))


def wait_for(name, counts):
    deadline, found = time.monotonic() + 120, None
    while found is None or found[0] < expected:
        assert time.monotonic() < deadline, f"{name} holds {found} events of {expected}"
        try:
            found = counts()
        except OSError:
            time.sleep(0.2)
    assert found == (expected, expected), f"{name} holds {found} events, different ones, of {expected}"
    print(f"{name} holds each of {expected} events once")


wait_for("OpenSearch", in_opensearch)
wait_for("ClickHouse", in_clickhouse)
mapping = json.loads(ask(f"{stream}/_mapping"))
fields = next(iter(mapping.values()))["mappings"]["properties"]
assert fields["source"]["properties"]["ip"]["type"] == "ip", fields["source"]
within = quote('source.ip:"10.0.0.0/8"')
network = json.loads(ask(f"{stream}/_count?q={within}"))
assert network["count"] == expected, network
print("OpenSearch finds addresses by their network")
print("3 passed, 0 failed")
