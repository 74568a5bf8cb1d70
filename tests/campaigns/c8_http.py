"""C8: clients that speak HTTP as nobody should, and a good one beside them.

A corpus of malformed requests by their names, a seeded grammar of requests with every known trick of
smuggling and parsing, sockets that send a byte now and then, and floods of another protocol. A bad request gets a 4xx or a closed connection,
one answer at the most, within its time; the good client sees no error.

Cases: H1, H2, H3, H4.
"""

import concurrent.futures
import random
import re
import selectors
import socket
import time

import corpus_http
import observer
from campaign import Campaign, GoodClient, percentile

PATIENCE = 14  # The server gives a request's head ten seconds.
METHODS = [b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS", b"TRACE", b"get",
           b"G\0T", b"", b"POST POST", b"\xff\xfe", b"A" * 9000]  # fmt: skip
PATHS = [
    b"/2015-03-31/functions", b"/2015-03-31/functions/", b"/2015-03-31/functions/a/invocations",
    b"/2015-03-31/functions/%00/invocations", b"/2015-03-31/functions/../../etc/passwd",
    b"/2015-03-31/functions/%2e%2e%2f/code", b"//", b"/", b"*", b"http://other/2015-03-31/functions",
    b"/%", b"/%zz", b"/\xc3\x28", b"/" + b"a" * 70_000, b"/a?" + b"b=c&" * 5000, b"/?Action=%00",
    b"/_lamplight/health/../x", b"/\x7f", b"/ /", b"",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.1 ", b"HTTP", b"",
            b"HTTP/1.1\r\nHTTP/1.1"]  # fmt: skip
ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\0\r\n"]
HEADERS = [
    b"Content-Length: 5", b"Content-Length: 5, 6", b"Content-Length: -1", b"Content-Length: +5",
    b"Content-Length: 99999999999999999999", b"Content-Length: 0x5", b"Content-Length : 5",
    b"Content-Length:", b"Transfer-Encoding: chunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: identity", b" folded: line",
    b"\tfolded", b"Host: a", b"Host: b", b"Host:", b"Host: a b", b": nameless", b"no colon",
    b"X-\xff: y", b"X: \0", b"X: " + b"y" * 66_000, b"Cookie: " + b"a=b; " * 10_000,
    b"Expect: 100-continue", b"Expect: 200-ok", b"Upgrade: h2c", b"Connection: upgrade",
    b"Connection: close", b"Content-Encoding: gzip", b"Authorization: AWS4-HMAC-SHA256",
    b"Authorization: AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host, Signature=0",
    b"Authorization: Basic YTpi", b"X-Amz-Date: yesterday", b"X-Amz-Date: 20260101T000000Z",
    b"X-Amz-Security-Token: " + b"t" * 5000, b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD",
    b"X-Amz-Target: Logs_20140328." + b"a" * 3000, b"Range: bytes=0-0,1-1",
]  # fmt: skip
BODIES = [
    b"", b"{}", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5;a=\nb\r\nhello\r\n0\r\n\r\n",
    b"-1\r\n\r\n", b"ffffffffffffffff\r\n", b"5\r\nhel", b"0\r\nX: y\r\n\r\n",
    b"0\r\n\r\nGET /2015-03-31/functions HTTP/1.1\r\nHost: smuggled\r\n\r\n", b"\x1f\x8b" + bytes(99),
    b"[" * 10_000, b"\0" * 100,
]  # fmt: skip
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def request(r):
    """One request by the grammar: most parts are right, so that the wrong ones are reached."""
    wrong = lambda parts: r.choice(parts) if r.random() < 0.35 else parts[0]  # noqa: E731
    if r.random() < 0.03:
        # Another protocol: its preface, then frames of any kind.
        frames = (r.randbytes(3)[:2] + b"\x08" + r.randbytes(14) for _ in range(200))
        return PREFACE + b"".join(frames)
    end = wrong(ENDS)
    count = r.choice((0, 1, 2, 3, 5, 150)) if r.random() < 0.9 else 3
    head = [wrong(METHODS) + b" " + r.choice(PATHS) + b" " + wrong(VERSIONS)]
    head += [r.choice(HEADERS) for _ in range(count)]
    if r.random() < 0.8:
        head.insert(1, b"Host: a")
    data = end.join(head) + end + end + r.choice(BODIES)
    if r.random() < 0.1:
        at = r.randrange(len(data) + 1)
        data = data[:at] + r.randbytes(3) + data[at:]
    return data


def say(port, data, done=True):
    """Sends all of it, and half closes where it is `done`, so that only the server can end it where
    not; (answers' statuses, seconds)."""
    started = time.monotonic()
    got = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.sendall(data)
            if done:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # Refused before it was read to its end.
        try:
            while chunk := sock.recv(65536):
                got += chunk
        except ConnectionError:
            pass
    got = got.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")  # No answer yet.
    statuses = [int(s) for s in re.findall(rb"(?:^|(?<=\n)|(?<=[}\"]))HTTP/1\.[01] (\d{3})", got)]
    return statuses, time.monotonic() - started


def slow(port, count, seconds):
    """`count` sockets that never finish a head. How long the server bore the most patient one."""
    watch, opened, left = selectors.DefaultSelector(), {}, set()
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        sock.sendall(b"POST /2015-03-31/functions HTTP/1.1\r\nHost: a\r\n")
        sock.setblocking(False)
        opened[sock] = time.monotonic()
        left.add(sock)
        watch.register(sock, selectors.EVENT_READ)
    longest, end = 0.0, time.monotonic() + seconds
    while left and time.monotonic() < end:
        for key, _ in watch.select(1):
            sock = key.fileobj
            try:
                over = not sock.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                over = True
            if over:
                longest = max(longest, time.monotonic() - opened[sock])
                watch.unregister(sock)
                sock.close()
                left.discard(sock)
        for sock in random.sample(sorted(left, key=id), len(left) // 10):
            try:
                sock.sendall(b"X: y\r\n")
            except OSError:
                pass
    for sock in left:
        sock.close()
    return longest, len(left)


def main():
    sizes = {"tiny": (200, 20), "pr": (10_000, 500), "night": (1_000_000, 3_000)}
    with Campaign("c8", __doc__.splitlines()[0][4:], **sizes) as campaign:
        count, sockets = campaign.size
        server = campaign.server()
        good = GoodClient(server)
        alone = good.baseline(200)
        memory = observer.rss(server.pid)
        statuses, bad, hung, several, seconds = {}, [], [], [], []

        named = corpus_http.cases() | corpus_http.of_httparse()

        def attack_named(case):
            name, data = case
            other = name.startswith("HTTP/2: ")
            try:
                answers, _ = say(server.port, data, done=not other)
            except TimeoutError:
                hung.append(name)
                return
            for status in answers or [0]:
                statuses[status] = statuses.get(status, 0) + 1
                if status >= 500:
                    bad.append((status, name))
            # A frame that two readers could understand in two ways is the last of its connection, and
            # another protocol is not spoken.
            last = other or name.startswith("framing: ")
            if (len(answers) > 1 if last else any(status != 400 for status in answers[1:])) and not (
                name.startswith("chunks: ") and b"smuggled" in data
            ):
                several.append(name)
            if other and answers not in ([], [400]):
                several.append(name)

        def attack(number):
            data = request(random.Random(campaign.arguments.seed * 1_000_003 + number))
            try:
                answers, taken = say(server.port, data)
            except TimeoutError:
                hung.append(data)
                return
            seconds.append(taken)
            for status in answers or [0]:
                statuses[status] = statuses.get(status, 0) + 1
                if status >= 500:
                    bad.append((status, data))
            # What follows a request that was complete is another one, and mostly rubbish. It may
            # only be a good one where a body that holds one has said where it ends.
            if any(status != 400 for status in answers[1:]) and b"smuggled" not in data:
                several.append(data)

        with good, concurrent.futures.ThreadPoolExecutor(9) as pool:
            crawl = pool.submit(slow, server.port, sockets, 3 * PATIENCE)
            list(pool.map(attack_named, named.items()))
            list(pool.map(attack, range(count)))
            longest, left = crawl.result()
        grown = (observer.rss(server.pid) - memory) / 2**20
        campaign.note("requests by name", len(named))
        campaign.note("requests", count)
        campaign.note("answers", " ".join(f"{n}×{s or 'closed'}" for s, n in sorted(statuses.items())))
        for status, data in bad[:5]:
            print(status, data[:200])
        for data in [*hung, *several][:5]:
            print(data[:200])
        campaign.bar("answers of 5xx", len(bad), 0)
        campaign.bar("requests without an end", len(hung), 0)
        campaign.bar("requests made out of one", len(several), 0)
        campaign.note("answer, p99, ms", 1000 * percentile(seconds, 0.99))
        campaign.bar("slow sockets still open", left, 0)
        campaign.bar("slow socket borne for, s", longest, float(PATIENCE), timed=True)
        campaign.bar("memory more than before, MiB", grown, 64.0)
        for line in good.errors[:5]:
            print(line)
        campaign.bar("errors of the good client", len(good.errors), 0)
        campaign.note("its p99 alone, ms", alone)
        campaign.bar("its p99 meanwhile, ms", good.p99(), 2 * alone, timed=True)
        campaign.bar("panics", server.log().count("panicked at"), 0)


main()
