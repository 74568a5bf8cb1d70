"""Event source mappings."""

import contextlib
import json

from harness import aws
from harness.leftovers import wait_until

TABLE = f"arn:aws:dynamodb:us-east-1:{aws.ACCOUNT}:table/refused-table/stream/refused-stream"
STREAM = f"arn:aws:kinesis:us-east-1:{aws.ACCOUNT}:stream/refused-stream"
QUEUE = f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:refused-queue"


def _make_queue(w):
    sqs = aws.client(w.access, "sqs")
    url = sqs.create_queue(QueueName="refused-queue")["QueueUrl"]

    def undo():
        # Whoever made it last deletes it for all.
        with contextlib.suppress(sqs.exceptions.QueueDoesNotExist):
            sqs.delete_queue(QueueUrl=url)

    w.undo.append(undo)


def mappings(w):
    for name in ("refused-table", "refused-stream", "refused-queue"):
        w.known(name)

    def create(function=w.name, **settings):
        return w.ask("create_event_source_mapping", FunctionName=function, **settings)

    yield create()
    yield create(EventSourceArn=QUEUE + "-gone")
    _make_queue(w)
    yield create("doesnotexist", EventSourceArn=QUEUE)
    yield create(EventSourceArn=QUEUE, DestinationConfig={"OnSuccess": {"Destination": QUEUE}})
    yield create(EventSourceArn=QUEUE, BatchSize=11)
    filters = {"Filters": [{"Pattern": json.dumps(None)}]}
    yield create(EventSourceArn=QUEUE, FilterCriteria=filters)
    yield create(EventSourceArn=STREAM)
    yield create(EventSourceArn=STREAM, StartingPosition="invalid")
    at = {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1}
    yield create(EventSourceArn=TABLE, **at)


def mappings_that_are_there_already(w):
    kafka = {"Topics": ["topic"], "StartingPosition": "TRIM_HORIZON"}
    server = {"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka:1000"]}}}
    servers = ["kafka:1000", "kafka:2000"]
    two = {"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": servers}}}
    secret = f"arn:aws:secretsmanager:us-east-1:{aws.ACCOUNT}:secret:test"
    access = {"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": secret}]}
    at = {"StartingPosition": "LATEST"}

    def ask(source):
        return w.ask("create_event_source_mapping", FunctionName=w.name, **source)

    _make_queue(w)
    yield ask({**kafka, **server})
    for source, again in (
        ({"EventSourceArn": QUEUE}, [{}]),
        ({"EventSourceArn": STREAM, **at}, [{}]),
        ({"EventSourceArn": TABLE, **at}, [{}]),
        ({**kafka, **server, **access}, [server, two]),
    ):
        created = ask(source)
        assert created.status == 202, created.body
        uuid = w.known(created.json()["UUID"])
        for change in again:
            yield ask({**source, **change})
        wait_until(
            lambda uuid=uuid: w.ask("delete_event_source_mapping", UUID=uuid).status == 202,
            "the mapping to rest",
        )


SCENARIOS = [mappings, mappings_that_are_there_already]
