"""A Runtime API that hands out a fixed list of events and writes down every request.

One thread per connection, raw sockets, so that what a client really put on the
wire is seen: header spelling, order, framing. The event `/next` is answered at
once while events are left; the call after the last one is held open, and sets
`idle`. Absent: everything that judges (tests do), timeouts, the Extensions API.
"""

import json
import socket
import threading
from dataclasses import dataclass, field

PREFIX = "/2018-06-01/runtime"


@dataclass
class Event:
    """One invocation: `body` is sent as it is when it is bytes, else as JSON."""

    body: object = None
    headers: dict = field(default_factory=dict)
    request_id: str = ""
    # How the event is framed, and what is answered to what the client posts for it.
    chunked: bool = False
    answer: int = 202
    drop_connection: bool = False
    # The status of `/next` itself; `late` holds its answer back for that many seconds.
    status: int = 200
    late: float = 0

    def payload(self):
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Request:
    """What a client sent: header names in lower case, body unframed, trailers if any."""

    method: str
    path: str
    headers: dict
    body: bytes
    trailers: dict


class FakeApi:
    def __init__(self, events):
        self.events = [e if isinstance(e, Event) else Event(e) for e in events]
        for number, event in enumerate(self.events):
            event.request_id = event.request_id or "00000000-0000-4000-8000-%012d" % number
        self.requests = []
        self.given = 0
        self.connections = 0
        self.idle = threading.Event()
        self.closing = threading.Event()
        self.changed = threading.Condition()
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.closing.set()
        self.listener.close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def posts(self):
        return [r for r in self.requests if r.method == "POST"]

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        stream = connection.makefile("rb")
        try:
            while True:
                request = read_request(stream, connection)
                if request is None:
                    return
                with self.changed:
                    self.requests.append(request)
                    self.changed.notify_all()
                if not self._answer(connection, request):
                    return
        except OSError:
            return
        finally:
            self.open.discard(connection)
            stream.close()
            connection.close()

    def _answer(self, connection, request):
        if request.path == PREFIX + "/invocation/next":
            if self.given == len(self.events):
                self.idle.set()
                return connection.recv(1) and False
            event = self.events[self.given]
            self.given += 1
            self.closing.wait(event.late)
            connection.sendall(next_answer(event))
            return not event.drop_connection
        if request.path == PREFIX + "/restore/next":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return True
        status, body = 202, b'{"status":"OK"}'
        for event in self.events:
            if "/invocation/%s/" % event.request_id in request.path and request.path.endswith("/response"):
                status = event.answer
        if status != 202:
            body = b'{"errorMessage":"refused","errorType":"Refused"}'
        head = "HTTP/1.1 %d Answer\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        connection.sendall((head % (status, len(body))).encode() + body)
        return True


def next_answer(event):
    headers = {
        "Content-Type": "application/json",
        "Lambda-Runtime-Aws-Request-Id": event.request_id,
        "Lambda-Runtime-Deadline-Ms": "4102444800000",
        "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
        "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
    }
    headers.update(event.headers)
    body = event.payload()
    if event.chunked:
        headers["Transfer-Encoding"] = "chunked"
        cuts = [body[i : i + 1000] for i in range(0, len(body), 1000)] + [b""]
        body = b"".join(b"%x\r\n%s\r\n" % (len(cut), cut) for cut in cuts)
    else:
        headers["Content-Length"] = str(len(body))
    head = "".join("%s: %s\r\n" % pair for pair in headers.items() if pair[1] is not None)
    return b"HTTP/1.1 %d Answer\r\n" % event.status + head.encode("latin-1") + b"\r\n" + body


def read_request(stream, connection):
    line = stream.readline()
    if not line:
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers = read_headers(stream)
    trailers = {}
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int(stream.readline().split(b";")[0], 16):
            body += stream.read(size)
            stream.readline()
        trailers = read_headers(stream)
    else:
        body = stream.read(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body, trailers)


def read_headers(stream):
    headers = {}
    while (line := stream.readline()) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers
