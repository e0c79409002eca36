"""What observes Logweir asks for what Logweir tells: the metrics and labels in the alert rules and the
dashboards are those of the programs' own reference, and every query is one that Prometheus can read.

usage: check.py AGENT INGEST DEPLOY OUT
AGENT, INGEST: what `logweir-agent reference metrics` and `logweir ingest reference` print; DEPLOY: the
folder `deploy`. Writes the dashboards' queries as a rule file to OUT, for promtool to parse.
"""

import json
import pathlib
import re
import sys

# Labels that Prometheus adds, or that name a variable of a dashboard.
FOREIGN_LABELS = {"instance", "job", "severity"}


def reference(path):
    """Metric to its labels, from the table."""
    rows = re.findall(r"^\| `(logweir_\w+)` \| \w+ \| ([^|]*)\|", path.read_text(), re.M)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def queries(folder):
    """(where, query) of all rules and panels."""
    rules = (folder / "prometheus" / "logweir.rules.yaml").read_text()
    for expr in re.findall(r"^ +expr: (.*)$", rules, re.M):
        yield "logweir.rules.yaml", expr
    for path in sorted((folder / "grafana").glob("*.json")):
        board = json.loads(path.read_text())
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids)), f"{path.name}: two panels have the same id"
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{path.name}: ${variable['name']}", variable["query"]["query"]


def faults(known, where, query):
    names = set(re.findall(r"\blogweir_\w+", query))
    for name in sorted(names - known.keys()):
        yield f"{where}: there is no metric {name}"
    labels = set().union(*(known.get(name, set()) for name in names)) | FOREIGN_LABELS
    used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query))
    for group in re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", query):
        used |= {label.strip() for label in group.split(",")}
    for label in sorted(used - labels):
        yield f"{where}: no metric of the query has the label {label}"


def main():
    agent, ingest, deploy, out = (pathlib.Path(argument) for argument in sys.argv[1:])
    known = reference(agent) | reference(ingest)
    assert len(known) > 30, "the references are not what they were"
    found = list(queries(deploy))
    assert len(found) > 40, "the rules or the dashboards are not found"
    wrong = [fault for where, query in found for fault in faults(known, where, query)]
    print("\n".join(wrong))
    # The control: what is not there has to be seen.
    assert list(faults(known, "", 'sum by (colour) (logweir_agent_events_red_total{size="1"})'))
    lines = ["groups:", "  - name: dashboards", "    rules:"]
    for number, (_, query) in enumerate(found):
        if not query.startswith("label_values("):
            query = query.replace("$__rate_interval", "5m").replace("$instance", ".*")
            lines += [f"      - record: panel:{number}", f"        expr: {json.dumps(query)}"]
    out.write_text("\n".join(lines) + "\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
