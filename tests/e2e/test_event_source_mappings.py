"""Event source mappings as resources: defaults, states, refusals. Nothing polls them."""

import itertools
import json
import re

import pytest
from harness import aws
from harness.functions import deploy, fresh_name
from harness.leftovers import wait_until
from harness.refusals import content, refused

HELLO = "def handler(event, context):\n    return 'hello'\n"
NO_RESOURCE = ("The resource you requested does not exist.", 404)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def queue(access):
    """A maker of queues: `queue()` gives the ARN of a new one."""
    sqs, made = aws.client(access, "sqs"), []

    def make():
        name = f"queue-{next(_numbers)}"
        made.append(sqs.create_queue(QueueName=name)["QueueUrl"])
        return f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:{name}"

    yield make
    for url in made:
        sqs.delete_queue(QueueUrl=url)


def stream():
    return f"arn:aws:kinesis:us-east-1:{aws.ACCOUNT}:stream/stream-{next(_numbers)}"


def table():
    return f"arn:aws:dynamodb:us-east-1:{aws.ACCOUNT}:table/t{next(_numbers)}/stream/2026-11-22T00:00:00.000"


def function_arn(name):
    return f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:function:{name}"


@pytest.fixture(scope="module")
def name(client):
    name = deploy(client, HELLO, FunctionName=fresh_name("esm"))
    yield name
    client.delete_function(FunctionName=name)


@pytest.fixture
def mapping(client, name):
    """A maker of mappings; waits until they rest, and takes them away again."""
    made = []

    def make(**settings):
        settings = {"FunctionName": name, **settings}
        created = content(client.create_event_source_mapping(**settings))
        made.append(created["UUID"])
        at_rest(client, created["UUID"])
        return created

    yield make
    for uuid in made:
        try:
            client.delete_event_source_mapping(UUID=uuid)
        except client.exceptions.ResourceNotFoundException:
            pass


def at_rest(client, uuid):
    def resting():
        shown = content(client.get_event_source_mapping(UUID=uuid))
        return shown if shown["State"] in ("Enabled", "Disabled") else None

    return wait_until(resting, f"{uuid} to rest")


def refuse(client, name, **settings):
    return refused(client, "InvalidParameterValueException", "create_event_source_mapping", **{"FunctionName": name, **settings})


def test_defaults_of_a_queue(client, name, mapping, queue):
    source = queue()
    created = mapping(EventSourceArn=source)
    uuid = created["UUID"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid)
    assert created.pop("LastModified").tzinfo
    assert created == {
        "UUID": uuid,
        "EventSourceMappingArn": f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:event-source-mapping:{uuid}",
        "EventSourceArn": source,
        "FunctionArn": function_arn(name),
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
        "State": "Creating",
        "StateTransitionReason": "USER_INITIATED",
    }
    shown = at_rest(client, uuid)
    del shown["LastModified"]
    assert shown == {**created, "State": "Enabled"}


@pytest.mark.parametrize("source", [stream, table])
def test_defaults_of_a_stream(mapping, name, source):
    created = mapping(EventSourceArn=source(), StartingPosition="LATEST", FilterCriteria={"Filters": []})
    for varying in ("UUID", "EventSourceMappingArn", "EventSourceArn", "LastModified"):
        del created[varying]
    assert created == {
        "FunctionArn": function_arn(name),
        "BatchSize": 100,
        "BisectBatchOnFunctionError": False,
        "DestinationConfig": {"OnFailure": {}},
        "FunctionResponseTypes": [],
        "LastProcessingResult": "No records processed",
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
        "StartingPosition": "LATEST",
        "State": "Creating",
        "StateTransitionReason": "User action",
        "TumblingWindowInSeconds": 0,
    }


def test_own_kafka(client, name, mapping):
    access = [{"Type": "BASIC_AUTH", "URI": f"arn:aws:secretsmanager:us-east-1:{aws.ACCOUNT}:secret:s"}]
    server, topic = f"kafka{next(_numbers)}:1000", "topic"
    source = {"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [server]}}, "Topics": [topic]}
    assert refuse(client, name, **source) == ("Required 'sourceAccessConfigurations' parameter is missing.", 400)
    created = mapping(**source, SourceAccessConfigurations=access)
    assert created["SelfManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": created["UUID"]}
    assert (created["BatchSize"], created["StartingPosition"]) == (100, "TRIM_HORIZON")
    assert created["StateTransitionReason"] == "USER_INITIATED"
    assert created["SourceAccessConfigurations"] == access
    for servers in ([server], [server, "kafka:2000"]):
        both = {**source, "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": servers}}}
        assert refused(
            client, "ResourceConflictException", "create_event_source_mapping",
            FunctionName=name, SourceAccessConfigurations=access, **both,
        ) == (
            f'An event source mapping with event source ("{",".join(servers)}"), function ("{function_arn(name)}"), '
            f'topics ("{topic}") already exists. Please update or delete the existing mapping with UUID {created["UUID"]}', 409,
        )  # fmt: skip
    other = mapping(
        **{**source, "Topics": ["topic_2"]}, SourceAccessConfigurations=access, BatchSize=1,
        SelfManagedKafkaEventSourceConfig={"ConsumerGroupId": "random_id"},
    )  # fmt: skip
    assert other["SelfManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": "random_id"}


def test_life(client, name, mapping):
    failures = f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:failures"
    filters = {"Filters": [{"Pattern": json.dumps({"data": {"event_type": ["function_1"]}})}]}
    created = mapping(
        EventSourceArn=stream(), StartingPosition="TRIM_HORIZON", Enabled=False, BatchSize=5, FilterCriteria=filters,
        DestinationConfig={"OnFailure": {"Destination": failures}}, MaximumRetryAttempts=1, Tags={"a": "b"},
    )  # fmt: skip
    uuid = created["UUID"]
    shown = at_rest(client, uuid)
    assert shown["State"] == "Disabled" and shown["FilterCriteria"] == filters
    assert shown["DestinationConfig"] == {"OnFailure": {"Destination": failures}}
    assert content(client.get_event_source_mapping(UUID=uuid)) == shown
    assert client.list_tags(Resource=created["EventSourceMappingArn"])["Tags"] == {"a": "b"}
    client.tag_resource(Resource=created["EventSourceMappingArn"], Tags={"c": "d"})
    client.untag_resource(Resource=created["EventSourceMappingArn"], TagKeys=["a"])
    assert client.list_tags(Resource=created["EventSourceMappingArn"])["Tags"] == {"c": "d"}

    updated = client.update_event_source_mapping(UUID=uuid, Enabled=True)
    assert (updated["State"], updated["ResponseMetadata"]["HTTPStatusCode"]) == ("Enabling", 202)
    assert at_rest(client, uuid)["State"] == "Enabled"
    updated = client.update_event_source_mapping(UUID=uuid, BatchSize=7, FilterCriteria={}, DestinationConfig={"OnFailure": {}})
    assert updated["State"] == "Updating" and "FilterCriteria" not in updated
    shown = at_rest(client, uuid)
    assert (shown["State"], shown["BatchSize"], shown["MaximumRetryAttempts"]) == ("Enabled", 7, 1)
    assert shown["DestinationConfig"] == {"OnFailure": {}}
    assert client.update_event_source_mapping(UUID=uuid, Enabled=False)["State"] == "Disabling"
    assert at_rest(client, uuid)["State"] == "Disabled"

    deleted = client.delete_event_source_mapping(UUID=uuid)
    assert (deleted["State"], deleted["ResponseMetadata"]["HTTPStatusCode"]) == ("Deleting", 202)

    def gone():
        try:
            client.get_event_source_mapping(UUID=uuid)
        except client.exceptions.ResourceNotFoundException:
            return True

    wait_until(gone, f"{uuid} to be gone")
    for operation in ("get", "update", "delete"):
        assert refused(client, "ResourceNotFoundException", f"{operation}_event_source_mapping", UUID=uuid) == NO_RESOURCE


def test_duplicates(client, name, mapping, queue):
    for source, text in (
        (queue(), 'An event source mapping with SQS arn (" {0} ") and function (" {1} ") already exists. '),
        (stream(), 'The event source arn (" {0} ") and function (" {1} ") provided mapping already exists. '),
        (table(), 'The event source arn (" {0} ") and function (" {1} ") provided mapping already exists. '),
    ):
        settings = {"EventSourceArn": source} | ({} if ":sqs:" in source else {"StartingPosition": "LATEST"})
        uuid = mapping(**settings)["UUID"]
        assert refused(client, "ResourceConflictException", "create_event_source_mapping", FunctionName=name, **settings) == (
            text.format(source, name) + f"Please update or delete the existing mapping with UUID {uuid}", 409
        )  # fmt: skip


def test_listings(client, name, function, mapping, queue):
    other = function(HELLO)
    source = queue()
    first, second = mapping(EventSourceArn=source)["UUID"], mapping(EventSourceArn=source, FunctionName=other)["UUID"]
    mapping(EventSourceArn=queue())

    def listed(**settings):
        pages = client.get_paginator("list_event_source_mappings").paginate(**settings, PaginationConfig={"PageSize": 1})
        return {one["UUID"] for page in pages for one in page["EventSourceMappings"]}

    assert listed(EventSourceArn=source) == {first, second}
    assert listed(EventSourceArn=source, FunctionName=name) == {first}
    assert listed(FunctionName=other) == {second}
    assert listed() >= {first, second}


def test_a_mapping_outlives_its_function(client, function, mapping, queue):
    name = function(HELLO)
    uuid = mapping(EventSourceArn=queue(), FunctionName=name)["UUID"]
    client.delete_function(FunctionName=name)
    assert client.get_event_source_mapping(UUID=uuid)["State"] == "Enabled"


def test_refusals(client, name, queue):
    source = queue()
    assert refuse(client, name) == ("Unrecognized event source.", 400)
    assert refuse(client, name, EventSourceArn="arn:aws:iam:us-east-1:000000000000:x")[0] == "Unrecognized event source."
    assert refuse(client, "doesnotexist", EventSourceArn=source) == ("Function does not exist", 400)
    assert refuse(client, f"{name}:noalias", EventSourceArn=source) == ("Function does not exist", 400)
    destination = {"OnSuccess": {"Destination": source}}
    assert refuse(client, name, EventSourceArn=source, DestinationConfig=destination) == (
        "Unsupported DestinationConfig parameter for given event source mapping type.", 400
    )  # fmt: skip
    assert refuse(client, name, EventSourceArn=source, BatchSize=11) == (
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10", 400
    )  # fmt: skip
    assert refuse(client, name, EventSourceArn=source + ".fifo", BatchSize=11, MaximumBatchingWindowInSeconds=1)[1] == 400
    assert refuse(client, name, EventSourceArn=stream()) == (
        "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.", 400
    )  # fmt: skip
    assert refuse(client, name, EventSourceArn=source + "-gone") == (
        "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
        "SQS Error Message: The specified queue does not exist.", 400
    )  # fmt: skip
    where = table()
    assert refuse(client, name, EventSourceArn=where, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=1) == (
        f"Unsupported starting position for arn type: {where}", 400
    )  # fmt: skip
    assert refused(
        client, "ValidationException", "create_event_source_mapping",
        FunctionName=name, EventSourceArn=where, StartingPosition="invalid",
    ) == (
        "1 validation error detected: Value 'invalid' at 'startingPosition' failed to satisfy constraint: "
        "Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]", 400,
    )  # fmt: skip
    for pattern in (None, "simple string", {"eventSource": "aws:sqs"}, {"eventSource": []}):
        filters = {"Filters": [{"Pattern": json.dumps(pattern)}]}
        assert refuse(client, name, EventSourceArn=source, FilterCriteria=filters) == ("Invalid filter pattern definition.", 400)
    assert client.list_event_source_mappings(EventSourceArn=source)["EventSourceMappings"] == []


def test_an_update_is_checked_like_a_creation(client, mapping, queue):
    uuid = mapping(EventSourceArn=queue())["UUID"]
    for wrong in ({"BatchSize": 11}, {"ParallelizationFactor": 2}, {"FunctionName": "doesnotexist"},
                  {"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}):  # fmt: skip
        refused(client, "InvalidParameterValueException", "update_event_source_mapping", UUID=uuid, **wrong)
    assert at_rest(client, uuid)["BatchSize"] == 10


def test_a_crash_leaves_no_mapping_in_transition(own_server):
    server = own_server()
    client = aws.client(server.access())
    name = deploy(client, HELLO)
    source = {"FunctionName": name, "StartingPosition": "LATEST"}
    uuids = [client.create_event_source_mapping(**source, EventSourceArn=stream())["UUID"] for _ in range(5)]
    server.kill()
    server.start()
    client = aws.client(server.access())
    for uuid in uuids:
        assert at_rest(client, uuid)["State"] == "Enabled"


def test_capacity_providers(client, function):
    name = fresh_name("capacity")
    provider_arn = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:capacity-provider:{name}"
    missing = (f"Capacity provider not found: {provider_arn}", 404)
    for operation in ("get_capacity_provider", "update_capacity_provider", "delete_capacity_provider"):
        assert refused(client, "ResourceNotFoundException", operation, CapacityProviderName=name) == missing
    settings = {
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "PermissionsConfig": {"CapacityProviderOperatorRoleArn": aws.ROLE},
        "CapacityProviderScalingConfig": {"MaxVCpuCount": 4, "ScalingMode": "Auto"},
    }
    created = client.create_capacity_provider(CapacityProviderName=name, **settings, Tags={"a": "b"})["CapacityProvider"]
    assert created == {**settings, "CapacityProviderArn": provider_arn, "State": "Active", "LastModified": created["LastModified"]}
    refused(client, "ResourceConflictException", "create_capacity_provider", CapacityProviderName=name, **settings)
    assert client.list_tags(Resource=provider_arn)["Tags"] == {"a": "b"}
    for form in (name, provider_arn):
        assert client.get_capacity_provider(CapacityProviderName=form)["CapacityProvider"] == created
    scaling = {"MaxVCpuCount": 8, "ScalingMode": "Auto"}
    updated = client.update_capacity_provider(CapacityProviderName=name, CapacityProviderScalingConfig=scaling)
    assert updated["CapacityProvider"]["CapacityProviderScalingConfig"] == scaling
    assert updated["CapacityProvider"] in client.list_capacity_providers(State="Active")["CapacityProviders"]
    user = function(HELLO, CapacityProviderConfig={"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": provider_arn}})
    versions = client.list_function_versions_by_capacity_provider(CapacityProviderName=name)
    assert versions["FunctionVersions"] == [{"FunctionArn": f"{function_arn(user)}:$LATEST", "State": "Active"}]
    refused(client, "ResourceConflictException", "delete_capacity_provider", CapacityProviderName=name)
    client.delete_function(FunctionName=user)
    assert client.delete_capacity_provider(CapacityProviderName=name)["CapacityProvider"]["State"] == "Deleting"
    assert refused(client, "ResourceNotFoundException", "get_capacity_provider", CapacityProviderName=name) == missing


def test_there_are_no_durable_executions(client, name):
    assert client.list_durable_executions_by_function(FunctionName=name)["DurableExecutions"] == []
    refused(client, "ResourceNotFoundException", "list_durable_executions_by_function", FunctionName="doesnotexist")
    arn = f"{function_arn(name)}:1/durable-execution/one/00"
    for operation in ("get_durable_execution", "get_durable_execution_history", "stop_durable_execution",
                      "pause_durable_execution", "resume_durable_execution", "delete_durable_execution"):  # fmt: skip
        assert refused(client, "ResourceNotFoundException", operation, DurableExecutionArn=arn)[1] == 404
