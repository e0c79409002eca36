"""Compares what other engines find in a table with what was written into it.

Usage: check.py TABLE TRUTH.json
"""

import json
import sys

import duckdb
from deltalake import DeltaTable
from pyarrow.dataset import field


def main(table: str, truth_path: str) -> None:
    with open(truth_path, encoding="utf-8") as file:
        truth = json.load(file)
    delta = DeltaTable(table)
    check_log(delta, truth)
    check_rows("deltalake", duckdb.from_arrow(delta.to_pyarrow_table()), truth)
    check_filter(delta, truth)
    files = delta.file_uris()
    rows = duckdb.read_parquet(files, hive_partitioning=True, union_by_name=True)
    check_rows("duckdb", rows, truth)
    print(f"{table}: {truth['rows']} rows in {len(files)} files, version {delta.version()}")


def check_log(delta: DeltaTable, truth: dict) -> None:
    for app, position in truth["positions"].items():
        equal(f"position of {app}", delta.transaction_version(app), position)
    names = [column.name for column in delta.schema().fields]
    equal("partition columns", delta.metadata().partition_columns, ["date"])
    assert "source.ip" in names and "extra" in names, names
    by_statistics = sum(delta.get_add_actions(flatten=True).column("num_records").to_pylist())
    equal("rows by the log's statistics", by_statistics, truth["rows"])


def check_filter(delta: DeltaTable, truth: dict) -> None:
    """Files are skipped by the log's statistics here: also for columns that have none."""
    failures = field("event.outcome") == "failure"
    equal("filtered failures", delta.to_pyarrow_dataset().count_rows(filter=failures), truth["failures"])
    host, rows = max(truth["by_host"].items(), key=lambda item: item[1])
    found = delta.to_pyarrow_dataset().count_rows(filter=field("host.name") == host)
    equal("filtered host", found, rows)


def check_rows(engine: str, rows: duckdb.DuckDBPyRelation, truth: dict) -> None:
    def one(expression: str):
        return rows.aggregate(expression).fetchall()[0][0]

    equal(f"{engine}: rows", one("count(*)"), truth["rows"])
    failures = one("count(*) filter (where \"event.outcome\" = 'failure')")
    equal(f"{engine}: failures", failures, truth["failures"])
    equal(f"{engine}: sum of pids", one('sum("process.pid")'), truth["process_pid_sum"])
    tagged = one("count(*) filter (where list_contains(tags, 'slow'))")
    equal(f"{engine}: tagged", tagged, truth["tagged"])
    extra = one("count(*) filter (where extra ->> '$.\"labels.site\"' = 'north')")
    equal(f"{engine}: with extra", extra, truth["with_extra"])
    newest = one("strftime(timezone('UTC', max(\"@timestamp\")), '%Y-%m-%dT%H:%M:%S.%f')")
    equal(f"{engine}: newest", newest[:23], truth["newest"][:23])
    days = one("count(*) filter (where date = cast(timezone('UTC', \"@timestamp\") as date))")
    equal(f"{engine}: rows under their day", days, truth["rows"])
    hosts = dict(rows.aggregate('"host.name", count(*)').fetchall())
    equal(f"{engine}: rows by host", hosts, truth["by_host"])


def equal(what: str, found, expected) -> None:
    if found != expected:
        sys.exit(f"{what}: found {found}, expected {expected}")


if __name__ == "__main__":
    main(*sys.argv[1:])
