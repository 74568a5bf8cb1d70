"""The sandbox as a function sees it, and what it must not be able to do from there."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading

import pytest
from harness import code, place
from harness.functions import call, deploy, run_inside
from harness.leftovers import wait_until

pytestmark = pytest.mark.skipif(
    place.isolation() != "namespaces", reason="isolation is not `namespaces` in this run"
)

RUNTIME_API = """
import http.client, os
def api(method, path, body=b"", headers={}):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=5)
    connection.request(method, "/2018-06-01/runtime/" + path, body, headers)
    answer = connection.getresponse()
    return [answer.status, answer.read().decode(errors="replace")]
"""


def test_user_has_no_rights(probe):
    assert probe("import os\nresult = os.getuid()") != 0
    status = probe("result = open('/proc/self/status').read()")
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert re.search(rf"^{kind}:\t0+$", status, re.MULTILINE), (kind, status)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)


def test_only_tmp_can_be_written(probe):
    tried = probe(
        """
import os
result = {}
for path in ("/", "/var/task", "/var/runtime", "/opt", "/etc", "/usr", "/bin", "/dev", "/proc",
             "/var/lang", "/home", "/root", "/run", "/tmp"):
    try:
        with open(os.path.join(path, "written"), "w") as file:
            file.write("x")
        result[path] = "written"
    except OSError as error:
        result[path] = error.strerror
"""
    )
    assert [path for path, what in tried.items() if what == "written"] == ["/tmp"], tried


def test_tmp_has_its_size(client, function):
    """S6: /tmp has the size that was asked for, and room again afterwards."""
    name = function(code.PROBE, EphemeralStorage={"Size": 512}, MemorySize=1024)
    total, error = run_inside(
        client,
        name,
        """
import os, errno
place = os.statvfs("/tmp")
result = [place.f_blocks * place.f_frsize, None]
try:
    with open("/tmp/fill", "wb") as file:
        for _ in range(600):
            file.write(bytes(1 << 20))
except OSError as failure:
    result[1] = errno.errorcode[failure.errno]
os.unlink("/tmp/fill")
""",
    )
    assert total <= 520 << 20
    assert error == "ENOSPC"
    # There is room again, in the same environment.
    assert run_inside(client, name, "open('/tmp/a', 'w').write('x')\nresult = 1") == 1


def test_place(probe):
    got = probe(
        """
import os
result = {
    "cwd": os.getcwd(),
    "task": sorted(os.listdir("/var/task")),
    "root": sorted(os.listdir("/")),
    "fds": sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                  if os.path.lexists(f"/proc/self/fd/{fd}")),
    "pids": [pid for pid in os.listdir("/proc") if pid.isdigit()],
}
"""
    )
    assert got["cwd"] == "/var/task"
    assert "app.py" in got["task"]
    assert "sys" not in got["root"]
    assert len(got["pids"]) < 10
    assert not [fd for fd in got["fds"] if "lamplight" in fd], got["fds"]


def test_secrets_of_the_server_are_out_of_reach(probe, server):
    paths = [server.data_dir / "credentials", server.data_dir, server.home, "/etc/shadow"]
    for path in paths:
        seen = probe(f"import os\nresult = os.access({str(path)!r}, os.R_OK)")
        assert seen is False, path


@pytest.mark.parametrize(
    "attempt",
    [
        "ctypes.CDLL(None, use_errno=True).mount(b'none', b'/tmp', b'tmpfs', 0, None)",
        "ctypes.CDLL(None, use_errno=True).unshare(0x10000000)",
        "ctypes.CDLL(None, use_errno=True).setns(0, 0)",
        "ctypes.CDLL(None, use_errno=True).ptrace(16, 1, 0, 0)",
        "ctypes.CDLL(None, use_errno=True).chroot(b'/tmp')",
        "ctypes.CDLL(None, use_errno=True).syscall(321, 0, 0, 0)",  # bpf
        "ctypes.CDLL(None, use_errno=True).syscall(425, 1, 0)",  # io_uring_setup
        "ctypes.CDLL(None, use_errno=True).syscall(250, 0, 0)",  # keyctl
        "ctypes.CDLL(None, use_errno=True).syscall(304, 0, 0, 0)",  # open_by_handle_at
    ],
)
def test_system_calls_that_are_refused(probe, attempt):
    """S8: what the filter is for, seen from Python."""
    if place.architecture() != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    returned, error = probe(
        f"import ctypes, errno\nr = {attempt}\nresult = [r, errno.errorcode.get(ctypes.get_errno())]"
    )
    assert (returned, error) in [(-1, "EPERM"), (-1, "ENOSYS")]


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_PACKET", "AF_ALG", "AF_CAN"])
def test_sockets_that_are_refused(probe, family):
    """S8: rare socket families never open."""
    kind = "SOCK_SEQPACKET" if family == "AF_ALG" else "SOCK_RAW"
    error = probe(
        f"""
import errno, socket
try:
    socket.socket(socket.{family}, socket.{kind}).close()
    result = "opened"
except OSError as failure:
    result = errno.errorcode[failure.errno]
"""
    )
    assert error == "EPERM"


def test_fork_bomb_stays_inside(client, function, probe):
    """S5: a fork bomb meets the limit of its own sandbox."""
    name = function(code.PROBE, Timeout=20, MemorySize=3008)
    made = run_inside(
        client,
        name,
        """
import os, signal
children = []
try:
    for _ in range(5000):
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        children.append(pid)
except OSError:
    pass
result = len(children)
for pid in children:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
""",
    )
    assert made < 1100
    assert probe("result = 1") == 1


def connects(probe, host, port, seconds=2):
    return probe(
        f"""
import socket
try:
    socket.create_connection(({host!r}, {port}), {seconds}).close()
    result = "connected"
except OSError as failure:
    result = type(failure).__name__
"""
    )


def host_addresses():
    """The addresses of this machine, loopback and others."""
    out = subprocess.run(["ip", "-j", "-4", "address"], capture_output=True, check=True).stdout
    infos = [info for link in json.loads(out) for info in link.get("addr_info", [])]
    return [info["local"] for info in infos]


needs_ip = pytest.mark.skipif(shutil.which("ip") is None, reason="no `ip` on this machine")


@needs_ip
def test_host_is_out_of_reach(probe, server):
    """S11: neither our own API nor anything else on this machine, under none of its addresses."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        for address in {*host_addresses(), "127.0.0.1", "0.0.0.0"}:
            for target in (port, server.port):
                assert connects(probe, address, target) != "connected", (address, target)
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.1", "192.168.0.1", "172.16.0.1"])
def test_networks_that_are_private(probe, address):
    """S11: private networks are refused."""
    assert connects(probe, address, 80, 1) != "connected"


@pytest.fixture
def outside():
    """A web server at an address of the public internet, in a network namespace of ours."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and `ip` to make a network namespace")
    name, near, far = f"e2e{os.getpid()}", f"e2en{os.getpid()}", f"e2ef{os.getpid()}"

    def ip(*arguments, check=True):
        subprocess.run(["ip", *arguments], check=check, capture_output=True)

    ip("netns", "add", name)
    server = None
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        ip("address", "add", "45.33.32.157/30", "dev", near)
        ip("link", "set", near, "up")
        for words in (["address", "add", "45.33.32.158/30", "dev", far], ["link", "set", far, "up"],
                      ["link", "set", "lo", "up"], ["route", "add", "default", "dev", far]):
            ip("-n", name, *words)  # fmt: skip
        server = subprocess.Popen(
            ["ip", "netns", "exec", name, "python3", "-c",
             "import http.server as h; s = h.HTTPServer(('45.33.32.158', 80), "
             "h.SimpleHTTPRequestHandler); print('ready', flush=True); s.serve_forever()"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        assert server.stdout.readline() == b"ready\n"
        yield "45.33.32.158"
    finally:
        if server is not None:
            server.kill()
            server.wait()
        ip("link", "delete", near, check=False)
        ip("netns", "delete", name, check=False)


def test_public_internet_is_in_reach(probe, outside):
    assert connects(probe, outside, 80, 10) == "connected"


def test_egress_can_be_denied(own_server, outside):
    server = own_server(config='[network]\negress = "denied"\n')
    client = server.client()
    name = deploy(client, code.PROBE)
    inside = lambda python: run_inside(client, name, python)  # noqa: E731
    assert connects(inside, outside, 80) != "connected"


def test_forged_answers_to_the_runtime_api(probe):
    """S14: code that speaks to the Runtime API beside the runtime: the client gets one answer."""
    got = probe(
        RUNTIME_API
        + """
result = {
    "unknown": api("POST", "invocation/00000000-0000-0000-0000-000000000000/response", b"1"),
    "strange": api("POST", "invocation/../../x/response", b"1"),
    "init": api("POST", "init/error", b"{}"),
    "path": api("GET", "lamps"),
}
"""
    )
    assert got["unknown"][0] == 400 and "InvalidRequestID" in got["unknown"][1]
    assert got["strange"][0] in (400, 404)
    assert got["init"][0] == 403 and "InvalidStateTransition" in got["init"][1]
    assert got["path"][0] == 404


def test_first_answer_counts(client, function):
    """S14: the handler answers behind the runtime's back; the runtime's own answer comes second."""
    name = function(code.PROBE)
    payload, _ = call(
        client,
        name,
        {
            "python": RUNTIME_API
            + "api('POST', f'invocation/{context.aws_request_id}/response', b'\"forged\"')\n"
            "result = 'real'"
        },
    )
    assert payload == "forged"

    def next_call():
        # The runtime gives up when its own answer is refused; a call that had been given to that
        # environment meanwhile may fail with it, a later one may not.
        got, answer = call(client, name, {"python": "result = 'next'"})
        return got == "next" if "FunctionError" not in answer else None

    wait_until(next_call, "an answer of a new environment")


def test_stale_answer_does_not_reach_another_call(client, function):
    """S13: A thread of call 1 answers for call 1 again during call 2."""
    name = function(code.PROBE)
    run_inside(client, name, "memory['old'] = context.aws_request_id\nresult = 1")
    got = run_inside(
        client, name,
        RUNTIME_API + "result = api('POST', f'invocation/{memory[\"old\"]}/response', b'\"stale\"')",
    )  # fmt: skip
    assert got[0] == 400


def test_half_an_answer_and_too_much_of_one(client, function):
    """S14: half an answer and nonsense take nothing from the real one."""
    name = function(code.PROBE, Timeout=5)
    got = run_inside(
        client,
        name,
        """
import os, socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
def raw(data):
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100).decode(errors="replace")
path = f"/2018-06-01/runtime/invocation/{context.aws_request_id}/response"
result = [
    raw(f"POST {path} HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 100\\r\\n\\r\\nhalf".encode()),
    raw(b"\\x00\\x01 nonsense\\r\\n\\r\\n"),
]
""",
    )
    assert len(got) == 2
    assert call(client, name, {"python": "result = 'fine'"})[0] == "fine"


def test_runtime_api_of_a_neighbour(client, function):
    """S10: two sandboxes have the same address in networks of their own: neither sees the other."""
    first, second = function(code.PROBE), function(code.PROBE)
    both = threading.Barrier(2, timeout=30)
    answers = {}

    def run(name, word):
        both.wait()
        answers[name] = run_inside(
            client, name,
            f"import time\nopen('/tmp/mine', 'w').write({word!r})\ntime.sleep(1)\n"
            "result = [open('/tmp/mine').read(), sorted(__import__('os').listdir('/tmp'))]",
        )  # fmt: skip

    threads = [threading.Thread(target=run, args=pair) for pair in ((first, "a"), (second, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {first: ["a", ["mine"]], second: ["b", ["mine"]]}
