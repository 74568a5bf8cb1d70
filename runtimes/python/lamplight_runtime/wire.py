"""HTTP/1.1 to the Runtime API over one kept-alive socket.

Uses `_socket`, because importing `socket` costs more than all of this client.
Invariants: no time limit (`/next` blocks while the sandbox sleeps); a connection that
died while idle is replaced once, a fresh one is not. One request at a time, but that
the request for the next event may go out with an answer, in the same write: whoever
waits for the answer has it as soon, and nobody is woken twice.
Absent: TLS, proxies, redirects.
"""

import _socket
import sys

RECEIVE = 16384
# Larger bodies go out in a write of their own instead of being joined to the head.
JOIN = 65536


class UnexpectedAnswer(Exception):
    """The Runtime API refused something a function cannot repair."""


class RuntimeApi:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._peer = (host.strip("[]"), int(port))
        self._family = _socket.AF_INET6 if host.startswith("[") else _socket.AF_INET
        self._socket = None
        self._buffer = bytearray()
        self._asked = False
        agent = "lamplight-python/%d.%d.%d" % sys.version_info[:3]
        self._common = "Host: %s\r\nUser-Agent: %s\r\n" % (address, agent)
        self._next = self._request("GET", "/invocation/next", {})

    def next(self):
        """Blocks for an event. Returns its headers (lower-case names) and its body."""
        return self._told("/invocation/next", self._take_next())

    def get(self, path):
        return self._told(path, self._exchange(self._request("GET", path, {})))

    def _told(self, path, answer):
        status, headers, body = answer
        if status != 200:
            raise UnexpectedAnswer("GET %s: %d %r" % (path, status, body))
        return headers, body

    def post(self, path, headers, body, goes_on=False):
        """Returns the status and the answer's body. `goes_on`: `next` is called after it."""
        headers["Content-Length"] = str(len(body))
        head = self._request("POST", path, headers)
        # What a large body leaves unread may be thrown away with its connection.
        also = self._next if goes_on and len(body) <= JOIN else b""
        status, _, answer = self._exchange(head, body, also)
        self._asked = bool(also) and self._socket is not None
        return status, answer

    def _take_next(self):
        if self._asked:
            self._asked = False
            try:
                return self._answer()
            except OSError:
                self._close()
        return self._exchange(self._next)

    def _request(self, method, path, headers):
        lines = "".join(["%s: %s\r\n" % pair for pair in headers.items()])
        head = "%s /2018-06-01/runtime%s HTTP/1.1\r\n%s%s\r\n" % (method, path, self._common, lines)
        return head.encode("latin-1")

    def _exchange(self, head, body=b"", also=b""):
        while True:
            fresh = self._socket is None
            if fresh:
                self._connect()
            try:
                return self._once(head, body, also)
            except OSError:
                self._close()
                if fresh:
                    raise

    def _connect(self):
        self._buffer.clear()
        self._socket = _socket.socket(self._family, _socket.SOCK_STREAM)
        # A function may have set a default for all sockets; this one waits as long as it takes.
        self._socket.settimeout(None)
        self._socket.connect(self._peer)
        self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)

    def _close(self):
        self._socket.close()
        self._socket = None

    def _once(self, head, body, also):
        try:
            if len(body) <= JOIN:
                self._socket.sendall(head + body + also)
            else:
                self._socket.sendall(head)
                self._socket.sendall(body)
        except (BrokenPipeError, ConnectionResetError):
            # Too large a body is refused before it is read to its end: the answer may be there.
            pass
        return self._answer()

    def _answer(self):
        status, headers = self._head()
        while status < 200:
            status, headers = self._head()
        if headers.get("transfer-encoding", "").lower() == "chunked":
            answer = self._chunks()
        else:
            answer = self._exactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self._close()
        return status, headers, answer

    def _head(self):
        lines = self._until(b"\r\n\r\n").decode("utf-8", "replace").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(lines[0].split(" ", 2)[1]), headers

    def _chunks(self):
        whole = bytearray()
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                break
            whole += self._exactly(size)
            self._until(b"\r\n")
        while self._until(b"\r\n"):
            pass
        return bytes(whole)

    def _more(self):
        data = self._socket.recv(RECEIVE)
        if not data:
            raise ConnectionResetError("the Runtime API closed the connection")
        self._buffer += data

    def _until(self, mark):
        """The bytes before `mark`, which is taken away too."""
        searched = 0
        while True:
            end = self._buffer.find(mark, searched)
            if end >= 0:
                found = bytes(self._buffer[:end])
                del self._buffer[: end + len(mark)]
                return found
            searched = max(0, len(self._buffer) - len(mark))
            self._more()

    def _exactly(self, size):
        have = len(self._buffer)
        if have >= size:
            found = bytes(self._buffer[:size])
            del self._buffer[:size]
            return found
        whole = bytearray(size)
        whole[:have] = self._buffer
        self._buffer.clear()
        rest = memoryview(whole)[have:]
        while rest:
            count = self._socket.recv_into(rest)
            if not count:
                raise ConnectionResetError("the Runtime API closed the connection")
            rest = rest[count:]
        return bytes(whole)
