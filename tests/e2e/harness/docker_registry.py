"""Debian's docker-registry as a child process, open or behind a password or tokens, and images in it."""

import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

from .leftovers import wait_until

PROGRAM = shutil.which("docker-registry")
USER, PASSWORD = "lamp", "oil"
# Of PASSWORD, by htpasswd -B.
HASH = "$2y$05$NVHabkSkTd6CP999AEojr.dzD5.cYRdbsxSmI4KcBfbefUriVF5WW"
SERVICE, ISSUER = "registry of the test", "issuer of the test"
OCI = "application/vnd.oci.image."


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class DockerRegistry:
    """`auth` is None, "basic" or "token". `name` is what images are called by."""

    def __init__(self, auth=None):
        self.auth = auth
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="lamplight-registry-"))
        self.name = f"127.0.0.1:{free_port()}"
        self.tokens = TokenServer(self.home) if auth == "token" else None
        self.process = None

    def __enter__(self):
        config = self.home / "config.yml"
        # It is JSON as well.
        config.write_text(json.dumps(self.configuration()))
        with open(self.home / "log", "w") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "serve", str(config)], stdout=log, stderr=log, cwd=self.home
            )
        wait_until(self.answers, "the registry answers")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        if self.tokens:
            self.tokens.close()
        shutil.rmtree(self.home)

    def configuration(self):
        auth = {}
        if self.auth == "basic":
            (self.home / "htpasswd").write_text(f"{USER}:{HASH}\n")
            auth = {"htpasswd": {"realm": "the test", "path": str(self.home / "htpasswd")}}
        if self.tokens:
            auth = {
                "token": {
                    "realm": self.tokens.realm,
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(self.tokens.certificate),
                }
            }
        return {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.home / "data")}},
            "http": {"addr": self.name},
            **({"auth": auth} if auth else {}),
        }

    def answers(self):
        with contextlib.suppress(OSError):
            return self.request("GET", "/v2/")[0] in (200, 401)
        if self.process.poll() is not None:
            raise AssertionError((self.home / "log").read_text())
        return False

    def request(self, method, path, body=None, kind="application/octet-stream"):
        connection = http.client.HTTPConnection(self.name, timeout=30)
        headers = {"Content-Type": kind}
        if self.auth == "basic":
            headers["Authorization"] = basic(USER, PASSWORD)
        if self.tokens:
            repository = path.removeprefix("/v2/").split("/")[0]
            headers["Authorization"] = "Bearer " + self.tokens.token(repository, ["pull", "push"])
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), text

    def login(self, directory, password=PASSWORD):
        """The configuration by which a server gets in; the password is kept in `directory`."""
        path = directory / "password"
        path.write_text(password + "\n")
        lines = [f'[registry."{self.name}"]', f'username = "{USER}"', f'password_file = "{path}"']
        if self.tokens:
            lines.append(f'token_server = "{self.tokens.name}"')
        return "\n".join(lines) + "\n"

    def blob(self, repository, content, kind):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        status, headers, text = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202, text
        place = urllib.parse.urlsplit(headers["Location"])
        path = f"{place.path}?{place.query}&digest={digest(content)}"
        status, _, text = self.request("PUT", path, content)
        assert status == 201, text
        return {"mediaType": kind, "digest": digest(content), "size": len(content)}

    def manifest(self, repository, reference, manifest, kind):
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, **manifest}).encode()
        reference = reference or digest(body)
        status, _, text = self.request("PUT", f"/v2/{repository}/manifests/{reference}", body, kind)
        assert status == 201, text
        return {"mediaType": kind, "digest": digest(body), "size": len(body)}

    def push(self, repository, tag, layers, layer_kind=OCI + "layer.v1.tar+gzip", **config):
        """An image, under a tag or under none; returns its descriptor."""
        manifest = {
            "config": self.blob(repository, {"config": config}, OCI + "config.v1+json"),
            "layers": [self.blob(repository, layer, layer_kind) for layer in layers],
        }
        return self.manifest(repository, tag, manifest, OCI + "manifest.v1+json")

    def push_docker(self, repository, tag, layers, **config):
        """The same in the words that Docker had before OCI."""
        docker = "application/vnd.docker."
        layer_kind = docker + "image.rootfs.diff.tar.gzip"
        manifest = {
            "config": self.blob(repository, {"config": config}, docker + "container.image.v1+json"),
            "layers": [self.blob(repository, layer, layer_kind) for layer in layers],
        }
        return self.manifest(repository, tag, manifest, docker + "distribution.manifest.v2+json")

    def push_index(self, repository, tag, images, kind=OCI + "index.v1+json"):
        """{architecture: descriptor} under one tag."""
        manifests = [
            {**image, "platform": {"os": "linux", "architecture": name}}
            for name, image in images.items()
        ]
        return self.manifest(repository, tag, {"manifests": manifests}, kind)


class TokenServer:
    """Gives tokens that docker-registry believes, to those who have the password."""

    def __init__(self, home):
        self.key, self.certificate = home / "key.pem", home / "certificate.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "1",
                "-keyout", str(self.key), "-out", str(self.certificate))  # fmt: skip
        self.asked = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"http://127.0.0.1:{self.server.server_port}"
        self.realm = f"{self.name}/token"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, request):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
        self.asked.append((query, request.headers.get("Authorization")))
        if request.headers.get("Authorization") != basic(USER, PASSWORD):
            status, body = 401, b"{}"
        else:
            _, repository, actions = query["scope"][0].split(":")
            token = self.token(repository, actions.split(","))
            status, body = 200, json.dumps({"token": token, "expires_in": 60}).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def token(self, repository, actions):
        der = "".join(self.certificate.read_text().splitlines()[1:-1])
        now = int(time.time())
        access = [{"type": "repository", "name": repository, "actions": actions}]
        head = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
        claims = {
            "iss": ISSUER, "aud": SERVICE, "sub": USER, "jti": "1", "access": access,
            "iat": now, "nbf": now - 60, "exp": now + 600,
        }  # fmt: skip
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
        signature = openssl("dgst", "-sha256", "-sign", str(self.key), feed=signed.encode())
        return f"{signed}.{encoded(signature)}"


def openssl(*arguments, feed=b""):
    return subprocess.run(["openssl", *arguments], input=feed, capture_output=True, check=True).stdout


def encoded(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
