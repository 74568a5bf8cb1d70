"""A telemetry extension in the manner of OpenTelemetry's: it takes batches over HTTP or TCP, and
says in the function's log what it took. For `layer`, below its `HEAD`."""

COLLECTOR = """
import http.server, socket, socketserver, threading

API, VERSION = {api!r}
PROTOCOL = {protocol!r}
taken = []

def take(events):
    taken.extend(events)

class Batches(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            take([json.loads(line)])

register("INVOKE", "SHUTDOWN")
if PROTOCOL == "HTTP":
    server = http.server.ThreadingHTTPServer(("sandbox.localdomain", 4243), Batches)
    destination = {{"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243"}}
else:
    server = socketserver.ThreadingTCPServer(("sandbox.localdomain", 4243), Lines)
    destination = {{"protocol": "TCP", "port": 4243}}
threading.Thread(target=server.serve_forever, daemon=True).start()
status, _, body = send("PUT", API, {{
    "schemaVersion": VERSION, "types": ["platform", "function", "extension"],
    "buffering": {{"timeoutMs": 25, "maxItems": 1000, "maxBytes": 262144}},
    "destination": destination}}, {{"Content-Type": "application/json"}})
assert (status, body) == (200, b'"OK"'), (status, body)

def has(kind, request=None):
    return any(one["type"] == kind and (request is None or one["record"]["requestId"] == request)
               for one in taken)

while True:
    event = next_event()
    if event["eventType"] == "SHUTDOWN":
        # What is left comes before the end.
        while not has({last!r}):
            time.sleep(0.01)
        functions = 0
        for one in taken:
            functions += one["type"] == "function"
            if one["type"] != "extension" and (one["type"] != "function" or functions <= 20):
                say("took", json.dumps(one))
        sys.exit()
    # A span is whole when the runtime is done with its call.
    while {wait!r} and not has({wait!r}, event["requestId"]):
        time.sleep(0.01)
"""

TELEMETRY = "/2022-07-01/telemetry"
LOGS = "/2020-08-15/logs"


def collector(api, version, protocol="HTTP", wait="platform.runtimeDone", last="platform.report"):
    return COLLECTOR.format(api=(api, version), protocol=protocol, wait=wait, last=last)
