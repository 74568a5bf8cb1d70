"""A lean client: one connection kept alive, requests made and signed before the clock starts.

Speaks just enough HTTP/1.1 for the servers compared here. Its own cost is the same for all of them
and far below theirs: a send, a receive, a search for the end of the head.
"""

import datetime
import hashlib
import hmac
import socket
import threading
import time
import urllib.parse

SERVICE, REGION = "lambda", "us-east-1"


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def close(self):
        self.socket.close()

    def timed(self, request):
        """Sends a request; returns (seconds until the whole answer was here, status, body)."""
        start = time.perf_counter()
        self.socket.sendall(request)
        status, body, closed = self.answer()
        taken = time.perf_counter() - start
        if closed:
            port = self.socket.getpeername()[1]
            self.close()
            self.__init__(port)
        return taken, status, body

    def more(self):
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("closed in the middle of an answer")
        self.rest += chunk

    def line_end(self, mark):
        while (at := self.rest.find(mark)) < 0:
            self.more()
        found, self.rest = self.rest[:at], self.rest[at + len(mark) :]
        return found

    def take(self, length):
        while len(self.rest) < length:
            self.more()
        found, self.rest = self.rest[:length], self.rest[length:]
        return found

    def answer(self):
        head = self.line_end(b"\r\n\r\n").split(b"\r\n")
        status = int(head[0].split(b" ", 2)[1])
        fields = {}
        for line in head[1:]:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip().lower()
        if fields.get(b"transfer-encoding") == b"chunked":
            body = b""
            while length := int(self.line_end(b"\r\n").split(b";")[0], 16):
                body += self.take(length + 2)[:-2]
            self.line_end(b"\r\n")
        else:
            body = self.take(int(fields.get(b"content-length", b"0")))
        return status, body, fields.get(b"connection") == b"close"


def plain(port, path, body):
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Signer:
    """SigV4 with the day's key kept: the same work an SDK does, done before the clock starts."""

    def __init__(self, port, key, secret):
        self.port, self.key, self.secret = port, key, secret
        self.day, self.signing_key = None, None

    def request(self, path, body=b"", method="POST"):
        """`path` may have a query, in the order of its names."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{REGION}/{SERVICE}/aws4_request"
        if self.day != now[:8]:
            key = b"AWS4" + self.secret.encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self.day, self.signing_key = now[:8], key
        host, names = f"127.0.0.1:{self.port}", "host;x-amz-date"
        digest = hashlib.sha256(body).hexdigest()
        place, _, query = path.partition("?")
        # A signature covers the path escaped once more.
        place = urllib.parse.quote(place, safe="/-_.~")
        canonical = f"{method}\n{place}\n{query}\nhost:{host}\nx-amz-date:{now}\n\n{names}\n{digest}"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}"
        signature = hmac.digest(self.signing_key, text.encode(), "sha256").hex()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Amz-Date: {now}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={self.key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def together(port, request, count):
    """`count` connections send at the same moment; returns [(seconds, status, body or error)]."""
    ready = threading.Barrier(count)
    answers = []

    def one():
        try:
            connection = Connection(port)
            data = request()
            ready.wait(60)
            answers.append(connection.timed(data))
            connection.close()
        except (OSError, threading.BrokenBarrierError) as error:
            answers.append((None, None, error))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
