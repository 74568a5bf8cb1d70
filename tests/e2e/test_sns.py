"""Topics: to queues, functions and other servers."""

import http.server
import json
import threading
import urllib.error
import urllib.request
import uuid

import pytest
from harness import aws
from harness.functions import deploy
from harness.leftovers import wait_until
from harness.refusals import refuses


@pytest.fixture(scope="module")
def sns(access):
    return aws.client(access, "sns")


@pytest.fixture(scope="module")
def sqs(access):
    return aws.client(access, "sqs")


@pytest.fixture
def topic(sns):
    """A maker of topics: `topic(fifo=False, **attributes)` gives the ARN."""
    made = []

    def make(fifo=False, **attributes):
        name = f"t-{uuid.uuid4().hex[:12]}" + (".fifo" if fifo else "")
        if fifo:
            attributes["FifoTopic"] = "true"
        made.append(sns.create_topic(Name=name, Attributes=attributes)["TopicArn"])
        return made[-1]

    yield make
    for arn in made:
        sns.delete_topic(TopicArn=arn)


@pytest.fixture
def queue(sqs):
    """A maker of queues that topics may send to: gives the URL and the ARN."""
    made = []

    def make(fifo=False, open_to="*", **attributes):
        name = f"q-{uuid.uuid4().hex[:12]}" + (".fifo" if fifo else "")
        if fifo:
            attributes["FifoQueue"] = "true"
        arn = f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:{name}"
        if open_to:
            statement = {
                "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage", "Resource": arn,
                "Condition": {"ArnLike": {"aws:SourceArn": open_to}},
            }  # fmt: skip
            policy = {"Version": "2012-10-17", "Statement": [statement]}
            attributes["Policy"] = json.dumps(policy)
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        made.append(url)
        return url, arn

    yield make
    for url in made:
        sqs.delete_queue(QueueUrl=url)


def receive(sqs, url, count, **more):
    """Waits for so many messages."""
    found = []
    while len(found) < count:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20,
            MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"], **more,
        )  # fmt: skip
        assert "Messages" in answer, f"only {len(found)} of {count} messages"
        found += answer["Messages"]
    return found


def test_a_queue_is_told_in_an_envelope_or_raw(sns, sqs, topic, queue):
    arn, (url, queue_arn), (raw_url, raw_arn) = topic(), queue(), queue()
    subscribed = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    sns.subscribe(
        TopicArn=arn, Protocol="sqs", Endpoint=raw_arn, Attributes={"RawMessageDelivery": "true"}
    )
    sent = sns.publish(
        TopicArn=arn, Message="hällo", Subject="s",
        MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}},
    )  # fmt: skip
    [message] = receive(sqs, url, 1)
    body = json.loads(message["Body"])
    assert (body["Type"], body["MessageId"], body["TopicArn"]) == (
        "Notification", sent["MessageId"], arn,
    )  # fmt: skip
    assert (body["Message"], body["Subject"]) == ("hällo", "s")
    assert body["MessageAttributes"] == {"n": {"Type": "Number", "Value": "1"}}
    assert subscribed["SubscriptionArn"] in body["UnsubscribeURL"]
    [message] = receive(sqs, raw_url, 1)
    assert message["Body"] == "hällo"
    assert message["MessageAttributes"]["n"]["StringValue"] == "1"


def test_filters_choose_by_attributes_and_by_body(sns, sqs, topic, queue):
    arn, (by_attribute, first), (by_body, second) = topic(), queue(), queue()
    sns.subscribe(
        TopicArn=arn, Protocol="sqs", Endpoint=first,
        Attributes={
            "RawMessageDelivery": "true",
            "FilterPolicy": json.dumps(
                {"kind": ["a", {"prefix": "b"}], "size": [{"numeric": [">", 5]}]}
            ),
        },
    )  # fmt: skip
    sns.subscribe(
        TopicArn=arn, Protocol="sqs", Endpoint=second,
        Attributes={
            "RawMessageDelivery": "true", "FilterPolicyScope": "MessageBody",
            "FilterPolicy": json.dumps({"who": {"name": [{"anything-but": "nobody"}]}}),
        },
    )  # fmt: skip

    def publish(message, **attributes):
        kinds = {str: "String", int: "Number"}
        attributes = {
            name: {"DataType": kinds[type(value)], "StringValue": str(value)}
            for name, value in attributes.items()
        }
        sns.publish(TopicArn=arn, Message=message, MessageAttributes=attributes)

    publish("no kind")
    publish("too small", kind="a", size=5)
    publish("fits", kind="bc", size=6)
    publish(json.dumps({"who": {"name": "nobody"}}))
    publish(json.dumps({"who": {"name": "somebody"}}))
    publish("fits, too", kind="a", size=9)
    found = [message["Body"] for message in receive(sqs, by_attribute, 2)]
    assert sorted(found) == ["fits", "fits, too"]
    [message] = receive(sqs, by_body, 1)
    assert json.loads(message["Body"])["who"]["name"] == "somebody"
    for url in (by_attribute, by_body):
        assert "Messages" not in sqs.receive_message(QueueUrl=url)
    with refuses("InvalidParameter", "FilterPolicy"):
        sns.subscribe(
            TopicArn=arn, Protocol="sqs", Endpoint=queue()[1],
            Attributes={"FilterPolicy": json.dumps({"a": [{"like": "b"}]})},
        )  # fmt: skip


def test_a_function_is_called_with_the_event_it_has_on_aws(sns, client, function, topic, logs):
    arn = topic()
    source = "def handler(event, context):\n    import json\n    print('GOT', json.dumps(event))\n"
    name = function(source)
    function_arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    client.add_permission(
        FunctionName=name, StatementId="sns", Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com", SourceArn=arn,
    )  # fmt: skip
    subscription = sns.subscribe(TopicArn=arn, Protocol="lambda", Endpoint=function_arn)
    sent = sns.publish(TopicArn=arn, Message="m")

    def printed():
        try:
            events = logs.filter_log_events(
                logGroupName=f"/aws/lambda/{name}", filterPattern="GOT"
            )["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        return events

    [event] = wait_until(printed, "the function to be called", 30)
    [record] = json.loads(event["message"].split("GOT ")[1])["Records"]
    assert record["EventSource"] == "aws:sns" and record["EventVersion"] == "1.0"
    assert record["EventSubscriptionArn"] == subscription["SubscriptionArn"]
    assert record["Sns"]["MessageId"] == sent["MessageId"]
    assert record["Sns"]["Message"] == "m" and record["Sns"]["Subject"] is None


def test_what_cannot_be_delivered_goes_to_the_dead_letter_queue(
    sns, sqs, client, function, topic, queue
):
    arn, (url, dead_arn), (_, shut_arn) = topic(), queue(), queue(open_to=None)
    name = function("def handler(event, context):\n    pass\n")
    function_arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn})}
    # Neither lets the topic in.
    sns.subscribe(TopicArn=arn, Protocol="lambda", Endpoint=function_arn, Attributes=redrive)
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=shut_arn, Attributes=redrive)
    sent = sns.publish(TopicArn=arn, Message="m")
    for message in receive(sqs, url, 2):
        assert json.loads(message["Body"])["MessageId"] == sent["MessageId"]
        assert "policy" in message["MessageAttributes"]["ErrorMessage"]["StringValue"]


class Endpoint:
    """A web server that remembers what is posted to it."""

    def __enter__(self):
        posts = self.posts = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.append((dict(self.headers), body.decode()))
                # The first notification fails once.
                fails = len(posts) == 2
                self.send_response(500 if fails else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_a_web_server_confirms_and_is_told(sns, topic):
    arn = topic()
    with Endpoint() as endpoint:
        answer = sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=endpoint.url)
        assert answer["SubscriptionArn"] == "pending confirmation"
        wait_until(lambda: endpoint.posts, "the confirmation to arrive")
        headers, body = endpoint.posts[0]
        asked = json.loads(body)
        assert headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
        sns.publish(TopicArn=arn, Message="too early")
        # As the endpoint does it: no signature, only the link.
        with urllib.request.urlopen(asked["SubscribeURL"], timeout=20) as answer:
            assert b"<SubscriptionArn>arn:" in answer.read()
        [subscription] = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
        shown = sns.get_subscription_attributes(SubscriptionArn=subscription["SubscriptionArn"])
        assert shown["Attributes"]["ConfirmationWasAuthenticated"] == "false"
        sns.publish(TopicArn=arn, Message="now")
        wait_until(lambda: len(endpoint.posts) >= 3, "the message to be tried twice")
        headers, body = endpoint.posts[2]
        assert headers["x-amz-sns-topic-arn"] == arn
        told = json.loads(body)
        assert told["Message"] == "now"
        [subscription] = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
        with urllib.request.urlopen(told["UnsubscribeURL"], timeout=20):
            pass
        assert sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"] == []
        assert subscription["Endpoint"] == endpoint.url


def test_a_subscription_may_ask_that_its_end_is_signed(sns, topic):
    arn = topic()
    with Endpoint() as endpoint:
        sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=endpoint.url)
        wait_until(lambda: endpoint.posts, "the confirmation to arrive")
        token = json.loads(endpoint.posts[0][1])["Token"]
        confirmed = sns.confirm_subscription(TopicArn=arn, Token=token, AuthenticateOnUnsubscribe="true")
        subscription = confirmed["SubscriptionArn"]
        shown = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
        assert shown["ConfirmationWasAuthenticated"] == "true"
        sns.publish(TopicArn=arn, Message="now")
        wait_until(lambda: len(endpoint.posts) >= 2, "the message to be tried")
        link = json.loads(endpoint.posts[1][1])["UnsubscribeURL"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(link, timeout=20)
        assert refused.value.code == 403 and b"AuthenticateOnUnsubscribe" in refused.value.read()
        assert sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
        sns.unsubscribe(SubscriptionArn=subscription)
        assert not sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]


def test_a_fifo_topic_keeps_order_and_sends_once(sns, sqs, topic, queue):
    arn = topic(fifo=True, ContentBasedDeduplication="true")
    url, queue_arn = queue(fifo=True)
    raw = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn, Attributes=raw)
    numbers = [
        sns.publish(TopicArn=arn, Message=text, MessageGroupId="g")["SequenceNumber"]
        for text in ["1", "2", "2", "3"]
    ]
    assert numbers == sorted(numbers) and len(set(numbers)) == 4
    assert [message["Body"] for message in receive(sqs, url, 3)] == ["1", "2", "3"]
    with refuses("InvalidParameter", "MessageGroupId"):
        sns.publish(TopicArn=arn, Message="m")
    with refuses("InvalidParameter", "FIFO topic"):
        sns.subscribe(TopicArn=arn, Protocol="http", Endpoint="http://localhost/")


def test_entries_of_a_batch_fail_alone(sns, sqs, topic, queue):
    arn, (url, queue_arn) = topic(), queue()
    raw = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn, Attributes=raw)
    answer = sns.publish_batch(
        TopicArn=arn,
        PublishBatchRequestEntries=[
            {"Id": "a", "Message": "1"},
            {"Id": "b", "Message": "2", "Subject": "a\nb"},
            {
                "Id": "c", "MessageStructure": "json",
                "Message": json.dumps({"default": "d", "sqs": "for queues"}),
            },
        ],
    )  # fmt: skip
    assert [entry["Id"] for entry in answer["Successful"]] == ["a", "c"]
    assert [entry["Code"] for entry in answer["Failed"]] == ["InvalidParameter"]
    found = sorted(message["Body"] for message in receive(sqs, url, 2))
    assert found == ["1", "for queues"]


def test_topics_and_subscriptions_are_read_back(sns, topic, queue):
    arn, (_, queue_arn) = topic(DisplayName="d"), queue()
    name = arn.rsplit(":", 1)[1]
    assert sns.create_topic(Name=name)["TopicArn"] == arn
    with refuses("InvalidParameter", "already exists with different attributes"):
        sns.create_topic(Name=name, Attributes={"DisplayName": "other"})
    sns.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="e")
    attributes = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (attributes["DisplayName"], attributes["SubscriptionsConfirmed"]) == ("e", "0")
    assert json.loads(attributes["Policy"])["Statement"][0]["Sid"] == "__default_statement_ID"
    subscription = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    subscription = subscription["SubscriptionArn"]
    again = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    assert again["SubscriptionArn"] == subscription
    sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue='{"a":["b"]}'
    )
    shown = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert (shown["FilterPolicy"], shown["FilterPolicyScope"]) == (
        '{"a":["b"]}', "MessageAttributes",
    )  # fmt: skip
    assert shown["PendingConfirmation"] == "false"
    listed = sns.get_paginator("list_subscriptions").paginate()
    listed = [one["SubscriptionArn"] for page in listed for one in page["Subscriptions"]]
    assert subscription in listed
    topics = sns.get_paginator("list_topics").paginate()
    assert arn in [one["TopicArn"] for page in topics for one in page["Topics"]]
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    sns.add_permission(
        TopicArn=arn, Label="them", AWSAccountId=["111122223333"], ActionName=["Publish"]
    )
    policy = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])
    assert policy["Statement"][-1]["Action"] == "SNS:Publish"
    sns.unsubscribe(SubscriptionArn=subscription)
    with refuses("NotFound", "Subscription does not exist"):
        sns.get_subscription_attributes(SubscriptionArn=subscription)
    sns.delete_topic(TopicArn=arn)
    with refuses("NotFound", "Topic does not exist"):
        sns.publish(TopicArn=arn, Message="m")


def test_deliveries_survive_the_servers_death(own_server, tmp_path):
    server = own_server()
    access = server.access()
    sns, client, logs = (aws.client(access, service) for service in ("sns", "lambda", "logs"))
    arn = sns.create_topic(Name="t")["TopicArn"]
    source = "def handler(event, context):\n    print('GOT', event['Records'][0]['Sns']['Message'])"
    deploy(client, source, FunctionName="f")
    function_arn = client.get_function(FunctionName="f")["Configuration"]["FunctionArn"]
    client.add_permission(
        FunctionName="f", StatementId="sns", Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com", SourceArn=arn,
    )  # fmt: skip
    sns.subscribe(TopicArn=arn, Protocol="lambda", Endpoint=function_arn)
    for n in range(20):
        sns.publish(TopicArn=arn, Message=f"m{n:02}")
    server.kill()
    server.start()
    logs = aws.client(server.access(), "logs")

    def all_of_them():
        try:
            events = logs.filter_log_events(logGroupName="/aws/lambda/f", filterPattern="GOT")
        except logs.exceptions.ResourceNotFoundException:
            return False
        return {event["message"].split()[1] for event in events["events"]} == {
            f"m{n:02}" for n in range(20)
        }

    wait_until(all_of_them, "all messages to reach the function", 60)
