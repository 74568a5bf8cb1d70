"""A tiny S3: objects in memory, GetObject with a verified signature, S3's own refusals."""

import hashlib
import hmac
import http.server
import ssl
import threading
import urllib.parse

KEY, SECRET, REGION = "AKIDOFTHETEST0000000", "a secret of the test", "eu-central-1"


class TinyS3:
    """`objects` maps (bucket, key) to a list of versions, newest last; None ends a connection."""

    def __init__(self, certificate=None):
        self.objects = {}
        self.buckets = set()
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                store.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        self.endpoint = f"{scheme}://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def put(self, bucket, key, content):
        """Returns the id of the new version."""
        self.buckets.add(bucket)
        versions = self.objects.setdefault((bucket, key), [])
        versions.append(content)
        return f"v{len(versions)}"

    def answer(self, request):
        if not signed(request):
            return refuse(request, 403, "SignatureDoesNotMatch", "The signature does not match.")
        url = urllib.parse.urlsplit(request.path)
        bucket, _, key = urllib.parse.unquote(url.path)[1:].partition("/")
        version = urllib.parse.parse_qs(url.query).get("versionId", [None])[0]
        if bucket not in self.buckets:
            return refuse(request, 404, "NoSuchBucket", "The specified bucket does not exist")
        versions = self.objects.get((bucket, key))
        if not versions:
            return refuse(request, 404, "NoSuchKey", "The specified key does not exist.")
        number = int(version[1:]) if version else len(versions)
        content = versions[number - 1]
        request.send_response(200)
        request.send_header("x-amz-version-id", f"v{number}")
        if isinstance(content, int):
            # A size without the bytes.
            request.send_header("Content-Length", str(content))
            return request.end_headers()
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


def refuse(request, status, code, message):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body.encode())


def signed(request):
    """AWS Signature Version 4, from its description."""
    authorization = request.headers.get("Authorization", "")
    if not authorization.startswith("AWS4-HMAC-SHA256 "):
        return False
    fields = dict(field.strip().split("=", 1) for field in authorization[17:].split(","))
    key, *scope = fields["Credential"].split("/")
    if (key, scope[1:]) != (KEY, [REGION, "s3", "aws4_request"]):
        return False
    path, _, query = request.path.partition("?")
    names = fields["SignedHeaders"].split(";")
    canonical = "\n".join(
        ["GET", path, query]
        + [f"{name}:{request.headers[name].strip()}" for name in names]
        + ["", fields["SignedHeaders"], request.headers["x-amz-content-sha256"]]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], "/".join(scope), digest])
    signing = ("AWS4" + SECRET).encode()
    for part in [*scope, text]:
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(signing.hex(), fields["Signature"])
