"""The lamplight command itself: what it prints, how it ends."""

import os
import re
import signal
import subprocess

import pytest
from harness import leftovers, place
from harness.leftovers import wait_until
from harness.server import clean_environment


def run(*arguments, check=False, timeout=60, **environment):
    return subprocess.run(
        [place.binary(), *arguments], env={**clean_environment(), **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=check,
    )  # fmt: skip


def test_version():
    done = run("version", check=True)
    assert re.search(r"\d+\.\d+\.\d+", done.stdout)


@pytest.mark.parametrize("words", [["--help"], ["serve", "--help"], ["demo", "--help"]])
def test_help(words):
    done = run(*words)
    assert done.returncode == 0
    assert "Usage:" in done.stdout


@pytest.mark.parametrize(
    "words",
    [["light"], ["serve", "--no-such-option"], ["serve", "--isolation", "none"],
     ["serve", "--listen", "nowhere"]],
)  # fmt: skip
def test_mistakes_are_named(words, tmp_path):
    done = run(*words, LAMPLIGHT_DATA_DIR=str(tmp_path / "data"))
    assert done.returncode != 0
    assert words[-1] in done.stderr
    assert "panicked" not in done.stderr


def test_doctor():
    done = run("doctor")
    text = done.stdout + done.stderr
    assert done.returncode in (0, 1)
    assert "namespaces" in text and "process" in text
    if place.isolation() == "namespaces":
        assert done.returncode == 0, text


def test_binary_is_static():
    """One file that runs on any Linux: no interpreter, no libraries."""
    headers = place.binary().read_bytes()[:4096]
    assert b"/lib64/ld-linux" not in headers and b"/lib/ld-" not in headers


def test_env_needs_a_server_once(tmp_path):
    done = run("env", "--data-dir", str(tmp_path / "nothing-here"))
    assert done.returncode != 0
    assert "serve" in done.stderr


def test_env(server):
    pairs = server.exports()
    assert pairs["AWS_ENDPOINT_URL"] == server.endpoint
    assert pairs["AWS_REGION"] == pairs["AWS_DEFAULT_REGION"] == "us-east-1"
    assert len(pairs["AWS_ACCESS_KEY_ID"]) >= 16
    assert len(pairs["AWS_SECRET_ACCESS_KEY"]) >= 32


def test_env_in_a_shell(server):
    """The line of the README, in the shell that most have."""
    done = subprocess.run(
        ["sh", "-c", 'eval "$("$1" env --data-dir "$2")" && echo "$AWS_ENDPOINT_URL"', "sh",
         place.binary(), server.data_dir],
        env=clean_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == server.endpoint


def test_serve_says_where_it_listens(server):
    assert re.search(r"listening on http://127\.0\.0\.1:\d+", server.log())


def test_secrets_are_not_in_the_log(server):
    assert server.access().secret not in server.log()


def test_demo_once(tmp_path):
    done = run("demo", "--once", "--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0",
               "--isolation", place.isolation(), timeout=120)  # fmt: skip
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "REPORT RequestId: " in text
    assert "statusCode" in text or "200" in text


def test_demo_until_ctrl_c(tmp_path):
    data_dir = tmp_path / "data"
    out = tmp_path / "out"
    with open(out, "wb") as sink:
        demo = subprocess.Popen(
            [place.binary(), "demo", "--data-dir", data_dir, "--listen", "127.0.0.1:0",
             "--isolation", place.isolation()],
            env=clean_environment(), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    try:
        wait_until(
            lambda: "REPORT RequestId: " in out.read_text() or demo.poll() is not None,
            lambda: f"the report in {out.read_text()}",
            60,
        )
        assert demo.poll() is None, out.read_text()
        footprint = leftovers.Footprint(demo.pid, data_dir)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0, out.read_text()
        leftovers.nothing_left(footprint)
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()


def test_ctrl_c_while_starting(own_server):
    """Whenever it comes, the server ends, and at the latest the next one sweeps up."""
    server = own_server(start=False)
    for _ in range(5):
        server.launch()
        footprint = server.footprint()
        server.process.send_signal(signal.SIGINT)
        server.process.wait(30)
        # Before the server can hear it, the signal ends it at once: then the next start sweeps.
        leftovers.nothing_left(footprint.before_restart())
    server.start()
    server.stop()


def test_port_that_is_taken(server, tmp_path):
    data_dir = tmp_path / "data"
    done = run("serve", "--data-dir", str(data_dir), "--listen", f"127.0.0.1:{server.port}",
               "--isolation", place.isolation())  # fmt: skip
    assert done.returncode != 0
    assert str(server.port) in done.stderr
    assert leftovers.named_after(leftovers.instance_of(data_dir)) == []


def test_data_directory_that_cannot_be_made(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    done = run("serve", "--data-dir", str(blocked / "data"), "--listen", "127.0.0.1:0")
    assert done.returncode != 0
    assert str(blocked) in done.stderr
    assert "panicked" not in done.stderr


def test_configuration_that_is_wrong(tmp_path):
    path = tmp_path / "lamplight.toml"
    path.write_text("oil = 'whale'\n")
    done = run("serve", "--data-dir", str(tmp_path / "data"), "--config", str(path))
    assert done.returncode != 0
    assert "oil" in done.stderr


def unread(*words):
    """Runs a command whose output nobody reads."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        return subprocess.run(
            [place.binary(), *words], env=clean_environment(), stdin=subprocess.DEVNULL,
            stdout=closed, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip


@pytest.mark.parametrize(
    "words", [["version"], ["doctor"], ["runtime", "list"], ["runtime", "list", "provided.al2023"]]
)
def test_nobody_has_to_read_what_is_said(words):
    assert (unread(*words).stderr, unread(*words).returncode) == ("", run(*words).returncode)


def test_nobody_has_to_read_what_a_server_tells(server):
    for words in (["env"], ["events", "list"]):
        done = unread(*words, "--data-dir", server.data_dir)
        assert (done.returncode, done.stderr) == (0, "")


def test_nobody_has_to_read_the_demo(tmp_path):
    done = unread("demo", "--once", "--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0",
                  "--isolation", place.isolation())  # fmt: skip
    assert done.returncode == 0 and "panicked" not in done.stderr, done.stderr


def test_a_full_disk_is_no_success():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [place.binary(), "version"], env=clean_environment(), stdin=subprocess.DEVNULL,
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode != 0 and "panicked" not in done.stderr
    assert done.stderr.startswith("lamplight: ")
