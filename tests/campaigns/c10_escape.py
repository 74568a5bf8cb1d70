"""C10: every way out of a sandbox that we could think of, in every mode of isolation.

A function that is a program of its own tries them and says what it got, which has to be what the
table says (crates/sandbox/tests/escape.txt). Beside it: what is seen of a neighbour, and whether
addresses of the host and of clouds are reached under any of their names.

Cases: S8, S10, S11.
"""

import errno
import json
import os
import pathlib
import signal
import socket
import subprocess

import observer
from campaign import Campaign, code, deploy, fresh_name, place

TABLE = place.ROOT / "crates" / "sandbox" / "tests" / "escape.txt"
ORDINARY = 54_321
COUNTED = ("neighbours", "descriptors", "capabilities", "length_")
# Files that a way out would change first.
HOST = ["/etc/passwd", "/etc/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
        "/usr/bin/env", "/proc/self/mountinfo"]  # fmt: skip


def table(column):
    rows = [line.split() for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    at = rows[0].index(column)
    return {row[0]: row[at].split(",") for row in rows[1:]}


def words(text):
    """{probe: the table's word for what it got}"""
    found = {}
    for line in text.splitlines():
        name, _, got = line.rpartition("=")
        if name.startswith(COUNTED):
            found[name] = got
        else:
            found[name] = "ok" if got == "0" else errno.errorcode.get(int(got), got)
    return found


def host():
    found = {path: observer.digest(path) for path in HOST if os.path.exists(path)}
    return {**found, "name": socket.gethostname()}


def probe_binary():
    """The probe, built beside the server's debug build."""
    if "LAMPLIGHT_PROBE" in os.environ:
        return pathlib.Path(os.environ["LAMPLIGHT_PROBE"])
    command = ["cargo", "build", "-q", "-p", "lamplight-sandbox", "--bin", "sandbox-probe",
               "--message-format", "json"]  # fmt: skip
    done = subprocess.run(command, cwd=place.ROOT, check=True, capture_output=True, text=True)
    artifacts = [json.loads(line) for line in done.stdout.splitlines()]
    return pathlib.Path(next(a["executable"] for a in artifacts if a.get("executable")))


def escape(campaign, column, user):
    """Runs all probes in one mode: how many, and the deviations."""
    server = campaign.server(isolation=column.partition("/")[0], user=user)
    client = server.client()
    package = code.bootstrap(probe_binary().read_bytes())
    name = deploy(client, package, FunctionName=fresh_name("escape"), Runtime="provided.al2023",
                  Handler="none", MemorySize=256)  # fmt: skip

    def run(*arguments):
        answer = client.invoke(FunctionName=name, Payload=json.dumps(arguments))
        text, _, end = code.payload(answer).rstrip("\n").rpartition("\n")
        return text, end

    got = words(run("escape")[0])
    wanted = table(column)
    if place.architecture() == "x86_64":
        for which in ("i386", "x32"):
            end = run(which)[1]
            kind, _, number = end.partition("=")
            got[which] = signal.Signals(int(number)).name if kind == "signal" else "ok"
    else:
        wanted = {name: words for name, words in wanted.items() if name not in ("i386", "x32")}
    deviations = [
        f"{name}: {got.get(name)}, not {','.join(right)}"
        for name, right in wanted.items()
        if right != ["any"] and got.get(name) not in right
    ]
    deviations += [f"{name}: not in the table" for name in got if name not in wanted]
    for line in deviations[:10]:
        print(f"{column}: {line}")
    campaign.note(f"{column}: probes", len(got))
    campaign.bar(f"{column}: deviations", len(deviations), 0)
    return server


def inside(client, name, python):
    answer = client.invoke(FunctionName=name, Payload=json.dumps({"python": python}))
    assert "FunctionError" not in answer, code.payload(answer)
    return code.payload(answer)


def neighbours(campaign, server):
    """One function hides secrets in every place it has; the other looks for them."""
    client = server.client()
    one = deploy(client, code.PROBE, FunctionName=fresh_name("hides"), MemorySize=256)
    other = deploy(client, code.PROBE, FunctionName=fresh_name("looks"), MemorySize=256)
    secret = f"secret-{campaign.arguments.seed}-of-a-neighbour"
    port = inside(client, one, f"""
import ctypes, os, socket, subprocess
secret = {secret!r}
open("/tmp/" + secret, "w").write(secret)
libc = ctypes.CDLL(None)
memory["shm"] = libc.shmget(0x5ec2e7, 4096, 0o1666)
memory["abstract"] = socket.socket(socket.AF_UNIX)
memory["abstract"].bind("\\0lamplight-neighbour")
memory["abstract"].listen()
memory["tcp"] = socket.create_server(("0.0.0.0", 0))
memory["child"] = subprocess.Popen(["/bin/sleep", "1000"], env={{"SECRET": secret}})
result = memory["tcp"].getsockname()[1]
""")
    look = f"""
import ctypes, glob, os, socket
secret = {secret!r}
result = []
for path in glob.glob("/tmp/*") + glob.glob("/dev/shm/*") + glob.glob("/var/tmp/*"):
    result.append("file " + path)
for pid in filter(str.isdigit, os.listdir("/proc")):
    for part in ("environ", "cmdline"):
        try:
            if secret in open(f"/proc/{{pid}}/{{part}}", errors="replace").read():
                result.append(f"process {{pid}}")
        except OSError:
            pass
for pid in range(2, 3000):
    if pid not in (os.getpid(), os.getppid()):
        try:
            os.kill(pid, 0)
            result.append(f"signal to {{pid}}")
        except ProcessLookupError:
            pass
        except PermissionError:
            result.append(f"sight of {{pid}}")
if ctypes.CDLL(None).shmget(0x5ec2e7, 4096, 0o666) >= 0:
    result.append("shared memory")
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect("\\0lamplight-neighbour")
    result.append("abstract socket")
except OSError:
    pass
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ends = ["127.0.0.1"]
try:
    own.connect(("198.51.100.1", 9))
    at = own.getsockname()[0]
    first, last = at.rsplit(".", 1)
    ends += [f"{{first}}.{{(int(last) & ~1) + n}}" for n in range(-8, 9) if 0 <= int(last) + n < 255]
    ends = [end for end in ends if end != at]
except OSError:
    pass
for end in ends:
    try:
        socket.create_connection((end, {port}), 0.3).close()
        result.append(f"port of {{end}}")
    except OSError:
        pass
"""
    found = inside(client, other, look)
    for line in found[:5]:
        print("neighbour:", line)
    campaign.bar("found of a neighbour", len(found), 0)
    # Whoever hid it finds all of it: a file, two processes, shared memory, a socket, a port.
    own = {line.split()[0] for line in inside(client, one, look)}
    campaign.bar("kinds of things that it finds of its own", -len(own), -6)


def forgery(campaign, server):
    """Addresses of the host, of private networks and of cloud metadata, in every spelling."""
    client = server.client()
    name = deploy(client, code.PROBE, FunctionName=fresh_name("asks"), MemorySize=256)
    addresses = [
        "169.254.169.254", "2852039166", "0251.0376.0251.0376", "0xa9fea9fe", "0xa9.0xfe.43518",
        "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "fd00:ec2::254",
        "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "10.0.0.1",
        "172.16.0.1", "192.168.0.1", "127.1", "0", "0.0.0.0", "::1", "::", "localhost",
        "::ffff:127.0.0.1", "2130706433", "017700000001", "224.0.0.1", "255.255.255.255",
    ]  # fmt: skip
    done = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False)
    addresses += done.stdout.split()
    reached = inside(client, name, f"""
import socket
gateway = []
for line in open("/proc/net/route").read().splitlines()[1:]:
    fields = line.split()
    if fields[1] == "00000000":
        gateway.append(socket.inet_ntoa(bytes.fromhex(fields[2])[::-1]))
result = []
tried = 0
for address in {addresses!r} + gateway:
    for port in (80, {server.port}, 22, 53):
        tried += 1
        try:
            socket.create_connection((address, port), 0.3).close()
            result.append(f"{{address}} port {{port}}")
        except OSError:
            pass
result = [tried, result]
""")
    tried, reached = reached
    # A resolver of this machine may be asked for names, at its own port.
    resolvers = {line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")}
    reached = [line for line in reached if line not in {f"{r} port 53" for r in resolvers}]
    for line in reached[:5]:
        print("reached:", line)
    campaign.note("addresses and ports tried", tried)
    campaign.bar("reached of host, clouds and private networks", len(reached), 0)


def main():
    sizes = {"tiny": ["namespaces/root"], "pr": None, "night": None}
    with Campaign("c10", __doc__.splitlines()[0][5:], **sizes) as campaign:
        columns = campaign.size or ["namespaces/root", "namespaces/user", "process/user"]
        before = host()
        for column in columns:
            mode, user = column.split("/")
            root = os.geteuid() == 0
            if user == "root" and not root:
                campaign.note(f"{column}: skipped", "not root")
                continue
            server = escape(campaign, column, ORDINARY if user == "user" and root else None)
            if mode == "namespaces":
                neighbours(campaign, server)
                forgery(campaign, server)
        after = host()
        changed = [path for path, was in before.items() if after[path] != was]
        for path in changed:
            print("changed:", path)
        campaign.bar("changes of the host", len(changed), 0)
        panics = sum(server.log().count("panicked at") for server in campaign.servers)
        campaign.bar("panics", panics, 0)


main()
