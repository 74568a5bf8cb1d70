"""A lamplight server as a child process, from start to a clean end."""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import urllib.parse

from . import aws, leftovers, place


class Server:
    """One data directory and the server on it. Can be killed and started again."""

    def __init__(self, *arguments, isolation=None, data_dir=None, environment=None, config=None,
                 user=None):  # fmt: skip
        self.home = pathlib.Path(data_dir or tempfile.mkdtemp(prefix="lamplight-e2e-"))
        self.binary = place.binary()
        self.user = user
        if user is not None:
            # An ordinary user may not see where the checkout is.
            self.binary = pathlib.Path(shutil.copy(self.binary, self.home / "lamplight"))
            os.chown(self.home, user, user)
        self.data_dir = self.home / "data"
        self.log_path = self.home / "server.log"
        self.isolation = isolation or place.isolation()
        self.arguments = list(arguments)
        if config is not None:
            path = self.home / "lamplight.toml"
            path.write_text(config)
            self.arguments += ["--config", str(path)]
        self.environment = environment or {}
        self.process = None
        self.endpoint = None

    def command(self):
        return [
            str(self.binary), "serve", "--data-dir", str(self.data_dir),
            "--listen", "127.0.0.1:0", "--isolation", self.isolation, *self.arguments,
        ]  # fmt: skip

    def start(self):
        self.launch()
        endpoint = self.data_dir / "endpoint"

        def ready():
            assert self.process.poll() is None, f"the server ended:\n{self.log()}"
            # The URL is the first line.
            return endpoint.exists() and endpoint.read_text().split()[:1]

        [self.endpoint] = leftovers.wait_until(ready, "the endpoint file", 30)
        return self

    def launch(self):
        """Starts the process without waiting for it to be ready."""
        # A file of an earlier, killed server says nothing about this one.
        (self.data_dir / "endpoint").unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**clean_environment(), **self.environment},
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                # The terminal's Ctrl-C is for pytest; it ends the server in its own time.
                start_new_session=True,
                # A shell's background jobs ignore SIGINT, and children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def pid(self):
        return self.process.pid

    def memory(self):
        """What of it is in memory, bytes."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    @property
    def port(self):
        return urllib.parse.urlsplit(self.endpoint).port

    def log(self, offset=0):
        data = self.log_path.read_bytes() if self.log_path.exists() else b""
        return data[offset:].decode(errors="replace")

    def footprint(self):
        return leftovers.Footprint(self.pid, self.data_dir)

    def kill(self):
        """kill -9, as a crash would. Returns what the server had on the machine."""
        footprint = self.footprint()
        self.process.kill()
        self.process.wait()
        return footprint

    def stop(self, how=signal.SIGINT):
        """Asks the server to end, and checks that it does, and leaves nothing."""
        if self.process is None or self.process.poll() is not None:
            return
        footprint = self.footprint()
        self.process.send_signal(how)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not end within 30 s of a signal") from None
        assert status == 0, f"the server ended with {status}"
        leftovers.nothing_left(footprint)

    def discard(self):
        """For clean-up after a failure too: nothing may stay, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.stop()
        finally:
            self.discard()

    def exports(self):
        """What `lamplight env` tells a shell to set."""
        done = subprocess.run(
            [place.binary(), "env", "--data-dir", self.data_dir],
            env=clean_environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        pairs = {}
        for line in done.stdout.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["export"]:
                pairs.update(word.split("=", 1) for word in words[1:])
        return pairs

    def access(self):
        pairs = self.exports()
        return aws.Access(
            self.endpoint, pairs["AWS_ACCESS_KEY_ID"], pairs["AWS_SECRET_ACCESS_KEY"],
            pairs["AWS_REGION"],
        )  # fmt: skip

    def client(self, service="lambda", **settings):
        return aws.client(self.access(), service, **settings)


def clean_environment():
    """This process's environment without what could point AWS tools or lamplight elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "LAMPLIGHT_"))
    }
