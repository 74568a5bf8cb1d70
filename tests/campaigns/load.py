"""Clients that change everything that lasts, each one thing after the other, and write down what
they were promised (see `stories`)."""

import hashlib
import threading
import time

from campaign import code, deploy, fresh_name
from harness import aws, place
from harness.leftovers import wait_until
from ledger import WRITES, Ledger

SAYS = "def handler(event, context):\n    return {!r}\n"


def id_of(answer):
    return answer["ResponseMetadata"]["RequestId"]


class Load:
    def __init__(self, server, stories, rounds):
        self.server, self.stories, self.rounds = server, stories, rounds
        self.ledger = Ledger(server)
        # What functions answer, by the digest of their code.
        self.says = {}
        self.errors = []

    def run(self):
        client = self.server.client()
        self.runs = deploy(client, WRITES, FunctionName=fresh_name("runs"), Timeout=60)
        jobs = [self.functions, self.messages, self.logs, self.events, self.events, self.events]
        threads = [threading.Thread(target=self._run, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.errors, self.errors

    def _run(self, job):
        try:
            job()
        except Exception as error:  # noqa: BLE001: the main thread fails with it
            self.errors.append(f"{job.__name__}: {error!r}")

    def _code(self, says):
        # Not so little that it fits into a sector or two.
        package = code.zipped({"app.py": SAYS.format(says), "more": _noise(says, 20_000)})
        digest = hashlib.sha256(package).hexdigest()
        self.says[digest] = says
        return package, digest

    def functions(self):
        client = self.server.client()
        for number in range(self.rounds):
            name = f"said-{number}"
            thing = ("function", name)
            (first, one), (second, two) = (self._code(f"{name}.{version}") for version in (1, 2))

            def create():
                return id_of(client.create_function(
                    FunctionName=name, Runtime=place.python_runtime(), Handler="app.handler",
                    Role=aws.ROLE, Code={"ZipFile": first}, Description="new",
                ))  # fmt: skip

            self.stories.change(thing, ("new", one), create)
            self._settled(client, name)
            self.stories.change(
                thing, ("told", one),
                lambda: id_of(client.update_function_configuration(FunctionName=name, Description="told")),
            )  # fmt: skip
            self._settled(client, name)
            self.stories.change(
                thing, ("told", two),
                lambda: id_of(client.update_function_code(FunctionName=name, ZipFile=second)),
            )  # fmt: skip
            if number % 3 == 1:
                self.stories.change(thing, None, lambda: id_of(client.delete_function(FunctionName=name)))
            elif number % 3 == 2:
                self._settled(client, name)
                client.invoke(FunctionName=name)

    @staticmethod
    def _settled(client, name):
        def settled():
            found = client.get_function_configuration(FunctionName=name)
            return found["State"] == "Active" and found.get("LastUpdateStatus") == "Successful"

        wait_until(settled, f"{name} to be ready", 60)

    def messages(self):
        sqs = self.server.client("sqs")
        url = sqs.create_queue(QueueName="kept")["QueueUrl"]
        for number in range(4 * self.rounds):
            # Large ones make the store fold its log in.
            body = "x" * (400_000 if number % 3 == 0 else 100)
            answer = sqs.send_message(QueueUrl=url, MessageBody=body)
            self.stories.change(("message", answer["MessageId"]), "there", lambda: id_of(answer))
            if number % 2 == 0:
                continue
            for message in sqs.receive_message(QueueUrl=url).get("Messages", []):
                self.stories.change(
                    ("message", message["MessageId"]), None,
                    lambda: id_of(sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])),
                )  # fmt: skip

    def logs(self):
        logs = self.server.client("logs")
        for number in range(self.rounds):
            group = f"lines-{number % 4}"
            if number < 4:
                self.stories.change(
                    ("group", group), "there", lambda: id_of(logs.create_log_group(logGroupName=group))
                )
                logs.create_log_stream(logGroupName=group, logStreamName="s")
            line = f"{group}:{number}:" + "." * 2000
            logs.put_log_events(
                logGroupName=group, logStreamName="s",
                logEvents=[{"timestamp": int(time.time() * 1000), "message": line}],
            )  # fmt: skip

    def events(self):
        sender = self.ledger.sender()
        for number in range(5 * self.rounds):
            assert sender.send(self.runs, fail=number % 20 == 0) == 202
            request_id = sender.request_id
            self.stories.change(("event", request_id), "there", lambda: request_id)
        sender.close()


def _noise(seed, length):
    """Bytes that do not get shorter in a zip file."""
    return b"".join(hashlib.sha256(f"{seed}{n}".encode()).digest() for n in range(length // 32))
