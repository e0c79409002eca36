"""gcs.py PORT BACKEND TOKEN: what fake-gcs-server lacks of Google's XML API, before one on port BACKEND.

The emulator serves lists, reads and removals of the XML API, but it takes an upload only through the JSON
API, and there alone does it heed a precondition. So an upload here becomes one there, and the header
`x-goog-if-generation-match` the parameter `ifGenerationMatch`: the emulator decides who came first. Who
bears a wrong token is refused; who bears none may read, as in a public bucket. Everything else is handed
through as it is.
"""

import http.client
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlencode

PORT, BACKEND, TOKEN = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("Authorization", "").removeprefix("Bearer").strip()
        reads = self.command in ("GET", "HEAD")
        if token != TOKEN and (token or not reads):
            return self.say(401, {}, b"<Error><Code>AuthenticationRequired</Code></Error>")
        if self.command == "PUT":
            return self.upload(body)
        passed = {name: value for name, value in self.headers.items() if name.lower() == "range"}
        status, headers, said = self.ask(self.command, self.path, passed, None)
        return self.say(status, headers, said)

    do_GET = do_HEAD = do_PUT = do_DELETE = answer

    def upload(self, body):
        bucket, name = self.path.lstrip("/").split("/", 1)
        asked = {"uploadType": "media", "name": unquote(name)}
        generation = self.headers.get("x-goog-if-generation-match")
        if generation is not None:
            asked["ifGenerationMatch"] = generation
        path = f"/upload/storage/v1/b/{bucket}/o?{urlencode(asked)}"
        status, _, said = self.ask("POST", path, {"Content-Type": "application/octet-stream"}, body)
        if status != 200:
            return self.say(status, {}, said)
        made = json.loads(said)
        return self.say(200, {"ETag": f'"{made["etag"]}"', "x-goog-generation": made["generation"]}, b"")

    def ask(self, method, path, headers, body):
        backend = http.client.HTTPConnection("127.0.0.1", BACKEND, timeout=30)
        try:
            backend.request(method, path, body, {**headers, "Host": f"127.0.0.1:{PORT}"})
            answer = backend.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            backend.close()

    def say(self, status, headers, body):
        self.send_response_only(status)
        length = len(body)
        for name, value in headers.items():
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Front)
    server.daemon_threads = True
    server.serve_forever()
