"""The questions of tests/bench/search: `search.py LOGWEIR TABLE`. Each is put to Logweir and to DuckDB;
both have to give the same number of rows."""

import os
import resource
import subprocess
import sys
import time
from datetime import timedelta

import duckdb
from deltalake import DeltaTable

logweir, table = sys.argv[1:]
files = DeltaTable(table).file_uris()
events = duckdb.connect()
events.execute("SET TimeZone = 'UTC'")
listed = ", ".join(f"'{file}'" for file in files)
events.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet([{listed}], union_by_name = true)")
newest = events.execute('SELECT max("@timestamp") FROM events').fetchone()[0]
rows = events.execute("SELECT count(*) FROM events").fetchone()[0]
hour_end = newest.replace(minute=0, second=0, microsecond=0)
begin, end = (f"{at:%Y-%m-%dT%H:%M:%S}" for at in (hour_end - timedelta(hours=1), hour_end))
RARE = "192.0.2.99"
# Name, arguments of `logweir search`, SQL. Answers with whole events are JSON of all their columns.
QUESTIONS = [
    (
        "rare address over everything, all columns",
        [f"source.ip:{RARE}", "--format", "json", "--limit", "1000"],
        f"SELECT * FROM events WHERE \"source.ip\" = '{RARE}' ORDER BY \"@timestamp\" DESC LIMIT 1000",
    ),
    (
        "count by hour",
        ["--stats", "count()", "--every", "1h", "--format", "csv"],
        "SELECT date_trunc('hour', \"@timestamp\"), count(*) FROM events GROUP BY 1 ORDER BY 1",
    ),
    (
        "phrase in the lines, counted",
        ['"failed password for user7 from"', "--count"],
        "SELECT count(*) FROM events WHERE \"event.original\" ILIKE '%failed password for user7 from%'",
    ),
    (
        "one hour of one dataset, counted",
        ["event.dataset:sshd", "--since", begin, "--until", end, "--count"],
        "SELECT count(*) FROM events WHERE \"event.dataset\" = 'sshd' "
        f"AND \"@timestamp\" >= '{begin}' AND \"@timestamp\" < '{end}'",
    ),
    (
        "one hour of one dataset, its newest 1,000, all columns",
        ["event.dataset:sshd", "--since", begin, "--until", end, "--format", "json", "--limit", "1000"],
        "SELECT * FROM events WHERE \"event.dataset\" = 'sshd' "
        f"AND \"@timestamp\" >= '{begin}' AND \"@timestamp\" < '{end}' ORDER BY \"@timestamp\" DESC LIMIT 1000",
    ),
]


def by_logweir(arguments):
    """Wall and CPU seconds, and the lines of the answer."""
    before, children = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run([logweir, "search", *arguments, "--store", table], capture_output=True)
    wall, after = time.perf_counter() - before, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert said.returncode in (0, 1), said.stderr.decode()
    cpu = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    return wall, cpu, said.stdout.decode().splitlines()


def by_duckdb(query):
    before, wall = os.times(), time.perf_counter()
    found = events.execute(query).fetchall()
    wall, after = time.perf_counter() - wall, os.times()
    return wall, after.user + after.system - before.user - before.system, found


def best(runs):
    return min(wall for wall, _, _ in runs), min(cpu for _, cpu, _ in runs)


def answer(found):
    """What both have to agree upon: a count, or how many rows."""
    if len(found) == 1:
        only = found[0][0] if isinstance(found[0], tuple) else found[0]
        if str(only).isdigit():
            return int(only)
    return len(found)


print(f"{rows} events in {len(files)} files, {sum(map(os.path.getsize, files)) >> 20} MiB")
print(f"{'question':56} {'answer':>8} {'logweir wall':>13} {'CPU':>8} {'DuckDB wall':>12} {'CPU':>8} {'ratio':>12}")
for name, arguments, query in QUESTIONS:
    ours = [by_logweir(arguments) for _ in range(3)]
    theirs = [by_duckdb(query) for _ in range(3)]
    lines = ours[0][2]
    if "csv" in arguments:
        lines = lines[1:]
    assert answer(lines) == answer(theirs[0][2]), (name, lines[:3], theirs[0][2][:3])
    (wall, cpu), (wall_d, cpu_d) = best(ours), best(theirs)
    print(
        f"{name:56} {answer(lines):8} {wall:12.3f}s {cpu:7.3f}s {wall_d:11.3f}s {cpu_d:7.3f}s "
        f"{wall_d / wall:5.1f}/{cpu_d / max(cpu, 0.001):.1f}",
        flush=True,
    )
