"""What provokes refusals: a client that checks nothing itself and keeps the bytes of the answer."""

from . import aws, code, place
from .functions import deploy, fresh_name

PREFIX = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}"
HELLO = "def handler(event, context):\n    return 'hello'\n"


class Asker:
    """Asks a server, and keeps what it answered byte for byte."""

    def __init__(self, access):
        self.access = access
        self.client = aws.client(access, parameter_validation=False)
        self.client.meta.events.register("after-call.lambda", self._keep)
        self.last = None

    def _keep(self, http_response, **_):
        headers, body = http_response.headers, http_response.content
        self.last = aws.Answer(http_response.status_code, headers, body)

    def ask(self, operation, **members):
        """The answer, a refusal or not."""
        self.last = None
        try:
            getattr(self.client, operation)(**members)
        except self.client.exceptions.ClientError:
            pass
        return self.last

    def must(self, operation, **members):
        return getattr(self.client, operation)(**members)

    def create(self, **settings):
        """CreateFunction of a function that would be fine but for `settings`; None takes one out."""
        fine = {
            "FunctionName": fresh_name("never"),
            "Runtime": place.python_runtime(),
            "Handler": "app.handler",
            "Role": aws.ROLE,
            "Code": {"ZipFile": code.python(HELLO)},
        }
        members = {**fine, **settings}
        given = {name: value for name, value in members.items() if value is not None}
        return self.ask("create_function", **given)


class World(Asker):
    """A server with one function that has two versions and two aliases.

    `names` are the names of things that may stand for the placeholders of recorded messages.
    """

    def __init__(self, access):
        super().__init__(access)
        self.names = set()
        self.undo = []
        self.name = self.function(Publish=True)
        self.must("update_function_code", FunctionName=self.name, ZipFile=code.python(HELLO + "# 2\n"))
        self.updated(self.name)
        self.must("publish_version", FunctionName=self.name)
        for version in ("1", "2"):
            self.client.get_waiter("published_version_active").wait(
                FunctionName=self.name, Qualifier=version, WaiterConfig={"Delay": 1}
            )
        self.alias("custom", "1")
        self.alias("eventinvokealias", "1")

    def known(self, name):
        self.names.add(str(name))
        return name

    def arn(self, name=None):
        return f"{PREFIX}:function:{name or self.name}"

    def function(self, **settings):
        name = self.known(deploy(self.client, HELLO, FunctionName=fresh_name("refused"), **settings))
        self.undo.append(lambda: self.ask("delete_function", FunctionName=name))
        return name

    def updated(self, name):
        self.client.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )

    def alias(self, name, version, **settings):
        self.must("create_alias", FunctionName=self.name, Name=name, FunctionVersion=version, **settings)

    def layer(self):
        """The name of a layer with one version."""
        name = self.known(fresh_name("refused-layer"))
        content = {"ZipFile": code.zipped({"text": name})}
        self.must("publish_layer_version", LayerName=name, Content=content)
        self.undo.append(lambda: self.ask("delete_layer_version", LayerName=name, VersionNumber=1))
        return name

    def close(self):
        for undo in reversed(self.undo):
            undo()
