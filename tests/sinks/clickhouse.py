"""ClickHouse's engine from PyPI (chdb) behind the part of its HTTP interface that the sink uses: a query in
the address, its data in the body, the settings as parameters. `clickhouse.py PORT DIRECTORY`."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from chdb.session import Session

session = Session(sys.argv[2])
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        parameters = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        query = parameters.pop("query", "")
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        if body:
            number = lambda text: text.lstrip("-").isdigit()
            settings = ", ".join(
                f"{name} = {value}" if number(value) else f"{name} = '{value}'" for name, value in parameters.items()
            )
            into, form = query.split(" FORMAT ")
            query = f"{into} SETTINGS {settings} FORMAT {form}\n{body}"
        try:
            with lock:
                status, answer = 200, session.query(query, "TabSeparated").bytes()
        except Exception as error:  # whatever the engine says goes to the client, as the server does
            status, answer = 400, str(error).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
