"""A tiny registry: images made of files, served as OCI asks for, behind a token."""

import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading

TOKEN = "a token of the test"


def layer(files=(), links=(), modes=None, whiteouts=()):
    """A tar.gz of {path: text or bytes} and {link: target}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in dict(files).items():
            content = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), (modes or {}).get(path, 0o644)
            archive.addfile(entry, io.BytesIO(content))
        for path, target in dict(links).items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
        for path in whiteouts:
            archive.addfile(tarfile.TarInfo(path))
    return gzip.compress(buffer.getvalue(), mtime=0)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


class TinyRegistry:
    def __init__(self):
        self.blobs, self.tags = {}, {}
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                store.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.name = f"127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def blob(self, content, kind):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.blobs[digest(content)] = content
        return {"mediaType": kind, "digest": digest(content), "size": len(content)}

    def push(self, tag, layers, **config):
        """An index with an image for amd64 and arm64; returns the image's digest."""
        oci = "application/vnd.oci.image."
        manifest = {
            "schemaVersion": 2,
            "config": self.blob({"config": config}, oci + "config.v1+json"),
            "layers": [self.blob(layer, oci + "layer.v1.tar+gzip") for layer in layers],
        }
        image = self.blob(manifest, oci + "manifest.v1+json")
        platforms = [{"os": "linux", "architecture": name} for name in ("amd64", "arm64")]
        index = {"manifests": [{**image, "platform": platform} for platform in platforms]}
        self.tags[tag] = self.blob(index, oci + "index.v1+json")["digest"]
        return image["digest"]

    def answer(self, request):
        path = request.path
        if path.startswith("/token?"):
            return reply(request, 200, json.dumps({"token": TOKEN}).encode())
        if path.startswith("/elsewhere/"):
            return reply(request, 200, self.blobs[path.removeprefix("/elsewhere/")])
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            realm = f'Bearer realm="http://{self.name}/token",service="tiny",scope="pull"'
            return reply(request, 401, b"", {"WWW-Authenticate": realm})
        kind, reference = path.split("/")[-2:]
        found = self.tags.get(reference, reference)
        if found not in self.blobs:
            return reply(request, 404, b"{}")
        if kind == "blobs":
            return reply(request, 307, b"", {"Location": f"/elsewhere/{found}"})
        return reply(request, 200, self.blobs[found])


def reply(request, status, body, headers=()):
    request.send_response(status)
    for name, value in dict(headers).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
