"""The second argument of a handler.

Names, defaults and text forms are AWS's public contract. `client_context` and
`identity` come from headers that whoever invokes the function may fill.
"""

import os
import sys
import time

from . import Fault, codec

# AWS: these members of the client context's `w3c`, when text, are what w3c() returns.
W3C = ("traceparent", "tracestate", "baggage")


class _Members:
    """Fixed members, all None at first, shown as `Name([a=1,b=2])`."""

    __slots__ = ()

    def __init__(self, values=None):
        for name in self.__slots__:
            setattr(self, name, (values or {}).get(name))

    def __repr__(self):
        return _show(self, self.__slots__)


class CognitoIdentity(_Members):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(_Members):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(_Members):
    __slots__ = ("custom", "env", "client")


class LambdaContext:
    def __init__(self, headers):
        environ = os.environ
        self.aws_request_id = headers.get("lambda-runtime-aws-request-id")
        self.log_group_name = environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        client = _json_header(headers, "lambda-runtime-client-context", "Client Context")
        self._w3c = _take_w3c(client)
        self.client_context = None if client is None else ClientContext(client)
        if client is not None and client.get("client") is not None:
            self.client_context.client = Client(client["client"])
        identity = _json_header(headers, "lambda-runtime-cognito-identity", "Cognito Identity")
        self.identity = CognitoIdentity()
        if identity is not None:
            self.identity.cognito_identity_id = identity.get("cognitoIdentityId")
            self.identity.cognito_identity_pool_id = identity.get("cognitoIdentityPoolId")
        self._deadline_ms = int(headers.get("lambda-runtime-deadline-ms") or 0)

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def w3c(self):
        return dict(self._w3c)

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        return _show(self, [name for name in (
            "aws_request_id", "log_group_name", "log_stream_name", "function_name",
            "memory_limit_in_mb", "function_version", "invoked_function_arn",
            "client_context", "identity", "tenant_id",
        )])


def _show(value, names):
    members = ",".join("%s=%s" % (name, getattr(value, name)) for name in names)
    return "%s([%s])" % (type(value).__name__, members)


def _json_header(headers, name, title):
    text = headers.get(name)
    if not text:
        return None
    try:
        return codec.decode(text.encode("utf-8"), "application/json")
    except Fault as fault:
        reason = str(fault).partition(": ")[2]
        message = "Unable to parse %s JSON: %s" % (title, reason)
        raise Fault("Runtime.LambdaContextUnmarshalError", message)


def _take_w3c(client):
    fields = client.pop("w3c", None) if isinstance(client, dict) else None
    if not isinstance(fields, dict):
        return {}
    return {name: fields[name] for name in W3C if isinstance(fields.get(name), str)}
