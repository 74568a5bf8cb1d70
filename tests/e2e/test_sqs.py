"""Message queues, as boto3, the aws cli and older SDKs use them."""

import concurrent.futures
import dataclasses
import json
import pathlib
import subprocess
import sys
import time
import urllib.parse
import uuid

import pytest
from harness import aws
from harness.leftovers import wait_until
from harness.refusals import refuses

CONSUMER = pathlib.Path(__file__).parents[2] / ".venv/node-sqs"
OLDER = pathlib.Path(__file__).parents[2] / ".venv/older-botocore"


@pytest.fixture(scope="module")
def sqs(access):
    return aws.client(access, "sqs")


@pytest.fixture
def queue(sqs):
    """A maker of queues: `queue(fifo=False, **attributes)` gives the URL."""
    made = []

    def make(fifo=False, **attributes):
        name = f"q-{uuid.uuid4().hex[:12]}" + (".fifo" if fifo else "")
        if fifo:
            attributes["FifoQueue"] = "true"
        attributes = {key: str(value) for key, value in attributes.items()}
        made.append(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        return made[-1]

    yield make
    for url in made:
        try:
            sqs.delete_queue(QueueUrl=url)
        except sqs.exceptions.QueueDoesNotExist:
            pass


def attributes_of(sqs, url, *names):
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names or ["All"]))
    return answer.get("Attributes", {})


def receive(sqs, url, **more):
    more = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": 0, **more}
    return sqs.receive_message(QueueUrl=url, **more).get("Messages", [])


def bodies(messages):
    return [message["Body"] for message in messages]


def test_a_message_is_sent_received_and_deleted(sqs, queue):
    url = queue()
    # boto3 compares the digests itself.
    sent = sqs.send_message(
        QueueUrl=url,
        MessageBody="hällo <&>",
        MessageAttributes={
            "colour": {"DataType": "String", "StringValue": "red"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\0\1"},
            "n.x": {"DataType": "Number.int", "StringValue": "7"},
        },
    )
    [message] = receive(
        sqs, url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == "hällo <&>"
    assert message["MessageAttributes"]["raw"]["BinaryValue"] == b"\0\1"
    assert message["MessageAttributes"]["n.x"]["StringValue"] == "7"
    system = message["Attributes"]
    assert system["ApproximateReceiveCount"] == "1"
    assert abs(int(system["SentTimestamp"]) / 1000 - time.time()) < 60
    assert receive(sqs, url) == []
    counts = attributes_of(sqs, url)
    assert counts["ApproximateNumberOfMessages"] == "0"
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "1"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert attributes_of(sqs, url)["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_message_comes_back_when_it_is_given_back(sqs, queue):
    url = queue(VisibilityTimeout=600)
    sqs.send_message(QueueUrl=url, MessageBody="m")
    [first] = receive(sqs, url)
    sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
    )
    [second] = receive(sqs, url, MessageSystemAttributeNames=["ApproximateReceiveCount"])
    assert second["Attributes"] == {"ApproximateReceiveCount": "2"}
    # The handle of the first time is no proof any more.
    with refuses("InvalidParameterValue", "not available for visibility timeout change"):
        sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=5
        )


def test_a_visibility_timeout_runs_out(sqs, queue):
    url = queue(VisibilityTimeout=1)
    sqs.send_message(QueueUrl=url, MessageBody="m")
    assert bodies(receive(sqs, url)) == ["m"]
    assert bodies(receive(sqs, url, WaitTimeSeconds=20)) == ["m"]


def test_a_waiting_receiver_is_given_what_arrives(sqs, queue):
    url = queue()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        began = time.monotonic()
        waiting = pool.submit(receive, sqs, url, WaitTimeSeconds=20)
        sqs.send_message(QueueUrl=url, MessageBody="now")
        assert bodies(waiting.result()) == ["now"]
        assert time.monotonic() - began < 15


def test_a_delayed_message_waits(sqs, queue):
    url = queue(DelaySeconds=1)
    sqs.send_message(QueueUrl=url, MessageBody="later")
    sqs.send_message(QueueUrl=url, MessageBody="at once", DelaySeconds=0)
    assert bodies(receive(sqs, url)) == ["at once"]
    assert attributes_of(sqs, url)["ApproximateNumberOfMessagesDelayed"] == "1"
    assert bodies(receive(sqs, url, WaitTimeSeconds=20)) == ["later"]


def test_entries_of_a_batch_fail_alone(sqs, queue):
    url = queue(MaximumMessageSize=1024)
    answer = sqs.send_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "MessageBody": "g"},
            {"Id": "large", "MessageBody": "x" * 1025},
        ],
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    [failed] = answer["Failed"]
    assert (failed["Id"], failed["SenderFault"], failed["Code"]) == (
        "large", True, "InvalidParameterValue",
    )  # fmt: skip
    [message] = receive(sqs, url)
    answer = sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "a", "ReceiptHandle": message["ReceiptHandle"]},
            {"Id": "b", "ReceiptHandle": "nonsense"},
        ],
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["a"]
    assert [entry["Code"] for entry in answer["Failed"]] == ["ReceiptHandleIsInvalid"]
    assert attributes_of(sqs, url)["ApproximateNumberOfMessagesNotVisible"] == "0"
    code = "AWS.SimpleQueueService."
    with refuses(code + "EmptyBatchRequest"):
        sqs.send_message_batch(QueueUrl=url, Entries=[])
    entries = [{"Id": str(n), "MessageBody": "m"} for n in range(11)]
    with refuses(code + "TooManyEntriesInBatchRequest", "You have sent 11."):
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    with refuses(code + "BatchEntryIdsNotDistinct"):
        sqs.send_message_batch(QueueUrl=url, Entries=entries[:1] * 2)


def test_a_fifo_queue_keeps_the_order_of_each_group(sqs, queue):
    url = queue(fifo=True, ContentBasedDeduplication="true")
    for n in range(4):
        sqs.send_message(QueueUrl=url, MessageBody=f"a{n}", MessageGroupId="a")
    sqs.send_message(QueueUrl=url, MessageBody="b0", MessageGroupId="b")
    names = ["MessageGroupId", "SequenceNumber"]
    first = receive(sqs, url, MaxNumberOfMessages=1, MessageSystemAttributeNames=names)
    assert bodies(first) == ["a0"]
    # The rest of the group waits for it; another group does not.
    others = receive(sqs, url)
    assert bodies(others) == ["b0"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"])
    rest = receive(sqs, url, MessageSystemAttributeNames=names)
    assert bodies(rest) == ["a1", "a2", "a3"]
    numbers = [message["Attributes"]["SequenceNumber"] for message in first + rest]
    assert numbers == sorted(numbers) and len(set(numbers)) == 4


def test_a_receiver_who_waits_for_a_group_is_given_it(sqs, queue):
    url = queue(fifo=True, ContentBasedDeduplication="true", VisibilityTimeout=600)
    for text in ["1", "2"]:
        sqs.send_message(QueueUrl=url, MessageBody=text, MessageGroupId="g")
    [first] = receive(sqs, url, MaxNumberOfMessages=1)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(receive, sqs, url, WaitTimeSeconds=20)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        assert bodies(waiting.result()) == ["2"]


def test_a_fifo_queue_takes_a_message_once(sqs, queue):
    url = queue(fifo=True)
    ask = {"QueueUrl": url, "MessageGroupId": "g", "MessageDeduplicationId": "one"}
    first = sqs.send_message(MessageBody="m", **ask)
    again = sqs.send_message(MessageBody="other", **ask)
    assert again["MessageId"] == first["MessageId"]
    [message] = receive(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    # Deleted or not, for five minutes it is the same.
    sqs.send_message(MessageBody="m", **ask)
    assert receive(sqs, url) == []
    with refuses("InvalidParameterValue", "either have ContentBasedDeduplication"):
        sqs.send_message(QueueUrl=url, MessageBody="m", MessageGroupId="g")
    with refuses("MissingParameter", "MessageGroupId"):
        sqs.send_message(QueueUrl=url, MessageBody="m", MessageDeduplicationId="d")


def test_dead_letters_go_aside_and_come_back(sqs, queue):
    dead = queue()
    arn = attributes_of(sqs, dead, "QueueArn")["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    url = queue(VisibilityTimeout=0, RedrivePolicy=policy)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    sent = sqs.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(2):
        assert bodies(receive(sqs, url)) == ["poison"]
    assert receive(sqs, url) == []
    [message] = receive(sqs, dead, VisibilityTimeout=0, MessageSystemAttributeNames=["All"])
    assert message["MessageId"] == sent["MessageId"]
    source = attributes_of(sqs, url, "QueueArn")["QueueArn"]
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == source
    handle = sqs.start_message_move_task(SourceArn=arn)["TaskHandle"]
    assert handle
    wait_until(
        lambda: sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"] == "COMPLETED",
        "the messages to be moved back",
    )
    [task] = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
    assert task["ApproximateNumberOfMessagesMoved"] == 1
    # Received as if for the first time.
    for _ in range(2):
        assert bodies(receive(sqs, url)) == ["poison"]
    with refuses("InvalidParameterValue", "must be configured as a Dead Letter Queue"):
        sqs.start_message_move_task(SourceArn=source)
    with refuses("InvalidParameterValue", "cannot be the same"):
        sqs.start_message_move_task(SourceArn=arn, DestinationArn=arn)
    fifo = attributes_of(sqs, queue(fifo=True), "QueueArn")["QueueArn"]
    with refuses("InvalidParameterValue", "same type"):
        sqs.start_message_move_task(SourceArn=arn, DestinationArn=fifo)


def test_a_queue_made_again_is_the_same_or_refused(sqs, queue):
    url = queue(DelaySeconds=5)
    name = url.rsplit("/", 1)[1]
    assert sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "5"})["QueueUrl"] == url
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == url
    with refuses("QueueAlreadyExists", "different value for attribute DelaySeconds"):
        sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "6"})
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == url


def test_a_new_queue_has_nothing_of_its_namesake(sqs, queue):
    url = queue()
    sqs.send_message(QueueUrl=url, MessageBody="old")
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as error:
        receive(sqs, url)
    code = error.value.response["Error"]["Code"]
    assert code == "AWS.SimpleQueueService.NonExistentQueue"
    assert sqs.create_queue(QueueName=url.rsplit("/", 1)[1])["QueueUrl"] == url
    assert receive(sqs, url) == []


def test_a_purge_empties_a_queue(sqs, queue):
    url = queue()
    for n in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
    sqs.purge_queue(QueueUrl=url)
    assert receive(sqs, url) == []


def test_attributes_and_tags_are_read_back(sqs, queue):
    url = queue()
    defaults = attributes_of(sqs, url)
    assert defaults["VisibilityTimeout"] == "30"
    assert defaults["MessageRetentionPeriod"] == "345600"
    assert defaults["QueueArn"].endswith(":" + url.rsplit("/", 1)[1])
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "9"})
    assert attributes_of(sqs, url, "VisibilityTimeout") == {"VisibilityTimeout": "9"}
    with refuses("InvalidAttributeValue", "VisibilityTimeout"):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "x"})
    with refuses("InvalidAttributeName", "Colour"):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Colour": "red"})
    sqs.tag_queue(QueueUrl=url, Tags={"a": "1", "b": "2"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["a"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"b": "2"}


def test_permissions_are_statements_of_the_policy(sqs, queue):
    url = queue()
    sqs.add_permission(
        QueueUrl=url, Label="them", AWSAccountIds=["111122223333"], Actions=["SendMessage"]
    )
    policy = json.loads(attributes_of(sqs, url, "Policy")["Policy"])
    [statement] = policy["Statement"]
    assert (statement["Sid"], statement["Action"]) == ("them", "SQS:SendMessage")
    sqs.remove_permission(QueueUrl=url, Label="them")
    assert "Policy" not in attributes_of(sqs, url)
    with refuses("InvalidParameterValue", "can't find label"):
        sqs.remove_permission(QueueUrl=url, Label="them")


def test_queues_are_listed_in_pages(sqs, queue):
    prefix = f"page-{uuid.uuid4().hex[:8]}-"
    urls = [sqs.create_queue(QueueName=f"{prefix}{n}")["QueueUrl"] for n in range(5)]
    try:
        pages = sqs.get_paginator("list_queues").paginate(
            QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2}
        )
        pages = [page["QueueUrls"] for page in pages]
        assert [len(page) for page in pages] == [2, 2, 1]
        assert sorted(sum(pages, [])) == urls
        assert sqs.list_queues(QueueNamePrefix=prefix + "x").get("QueueUrls", []) == []
    finally:
        for url in urls:
            sqs.delete_queue(QueueUrl=url)


def test_messages_survive_the_servers_death(own_server):
    server = own_server()
    sqs = aws.client(server.access(), "sqs")
    url = sqs.create_queue(QueueName="durable")["QueueUrl"]
    for n in range(20):
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
    [held] = receive(sqs, url, MaxNumberOfMessages=1)
    server.kill()
    server.start()
    sqs = aws.client(server.access(), "sqs")
    url = sqs.get_queue_url(QueueName="durable")["QueueUrl"]
    found = set()
    while messages := receive(sqs, url):
        found.update(bodies(messages))
    assert found | {held["Body"]} == {str(n) for n in range(20)}


def test_the_queue_of_another_account_is_not_there(sqs, queue):
    url = queue()
    parts = urllib.parse.urlsplit(url)
    name = parts.path.rsplit("/", 1)[1]
    other = f"{parts.scheme}://{parts.netloc}/999999999999/{name}"
    with refuses("AWS.SimpleQueueService.NonExistentQueue"):
        receive(sqs, other)


def test_a_role_may_do_what_its_policies_or_the_queues_say(access, sqs, queue):
    iam = aws.client(access, "iam")
    user = f"u-{uuid.uuid4().hex[:8]}"
    arn = iam.create_user(UserName=user)["User"]["Arn"]
    key = iam.create_access_key(UserName=user)["AccessKey"]
    keys = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    theirs = aws.client(dataclasses.replace(access, **keys), "sqs")
    url = queue()
    queue_arn = attributes_of(sqs, url, "QueueArn")["QueueArn"]
    with refuses("AccessDenied", "sqs:SendMessage"):
        theirs.send_message(QueueUrl=url, MessageBody="m")
    statement = {
        "Effect": "Allow", "Principal": {"AWS": arn},
        "Action": "SQS:SendMessage", "Resource": queue_arn,
    }  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    theirs.send_message(QueueUrl=url, MessageBody="m")
    entries = [{"Id": "a", "MessageBody": "m"}]
    assert not theirs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")
    with refuses("AccessDenied", "sqs:ReceiveMessage"):
        receive(theirs, url)


@pytest.mark.skipif(not OLDER.exists(), reason="an older botocore could not be installed")
def test_older_sdks_are_understood(access, sqs, queue):
    url = queue()
    program = """
import json, sys
import botocore, botocore.session
url, endpoint, region, key, secret = sys.argv[1:]
client = botocore.session.Session().create_client(
    "sqs", endpoint_url=endpoint, region_name=region,
    aws_access_key_id=key, aws_secret_access_key=secret)
assert client.meta.service_model.metadata["protocol"] == "query"
client.send_message(QueueUrl=url, MessageBody="<old & good>", MessageAttributes={
    "a": {"DataType": "String", "StringValue": "v"}})
sent = client.send_message_batch(QueueUrl=url, Entries=[
    {"Id": "x", "MessageBody": "2"}, {"Id": "y", "MessageBody": ""}])
assert [e["Id"] for e in sent["Successful"]] == ["x"] and sent["Failed"][0]["Id"] == "y"
found = {}
while len(found) < 2:
    got = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5,
        MessageAttributeNames=["All"], AttributeNames=["All"])
    for m in got["Messages"]:
        found[m["Body"]] = m
        client.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])
assert found["<old & good>"]["MessageAttributes"]["a"]["StringValue"] == "v"
assert found["2"]["Attributes"]["ApproximateReceiveCount"] == "1"
assert client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["QueueArn"]
try:
    client.get_queue_url(QueueName="none")
except client.exceptions.QueueDoesNotExist as error:
    print(error.response["Error"]["Code"])
"""
    answer = subprocess.run(
        [
            sys.executable, "-c", program, url, access.endpoint, access.region,
            access.key, access.secret,
        ],  # fmt: skip
        env={"PYTHONPATH": str(OLDER), "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "AWS.SimpleQueueService.NonExistentQueue"


@pytest.mark.skipif(
    not (CONSUMER / "node_modules/sqs-consumer").exists(), reason="sqs-consumer is not installed"
)
def test_a_consumer_library_works_a_queue_off(access, sqs, queue, tmp_path):
    """The npm package sqs-consumer, with the JavaScript SDK: what it fails on goes aside."""
    dead = queue()
    arn = attributes_of(sqs, dead, "QueueArn")["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    url = queue(RedrivePolicy=policy)
    for n in range(25):
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    program = """
import { createRequire } from "node:module";
const require = createRequire(process.argv[2] + "/");
const { Consumer } = require("sqs-consumer");
const { SQSClient } = require("@aws-sdk/client-sqs");
const seen = new Set();
const app = Consumer.create({
  queueUrl: process.argv[3], sqs: new SQSClient({}), batchSize: 10, waitTimeSeconds: 1,
  visibilityTimeout: 30, terminateVisibilityTimeout: true,
  handleMessage: async (message) => {
    if (message.Body === "poison") throw new Error("no");
    seen.add(message.Body);
    return message;
  },
});
app.on("error", (error) => { console.error(error); process.exit(1); });
app.on("processing_error", () => {});
app.on("empty", () => { console.log(seen.size); app.stop(); });
app.start();
"""
    script = tmp_path / "consume.mjs"
    script.write_text(program)
    answer = subprocess.run(
        ["node", script, CONSUMER, url],
        env={
            "PATH": "/usr/bin:/bin:/usr/local/bin", "AWS_ENDPOINT_URL": access.endpoint,
            "AWS_REGION": access.region, "AWS_ACCESS_KEY_ID": access.key,
            "AWS_SECRET_ACCESS_KEY": access.secret,
        },
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert answer.returncode == 0 and answer.stdout.strip() == "25", answer
    assert bodies(receive(sqs, dead)) == ["poison"]
