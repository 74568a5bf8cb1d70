"""What has to hold still: a tool that reads twice and sees two things shows a change that nobody
made."""

from .leftovers import wait_until


def twice(read):
    """What `read` answers, if it answers the same again."""
    first, second = read(), read()
    assert first == second
    return first


def settled(client, name):
    """Waits as the tools do until no change of a function is under way."""

    def ready():
        settings = client.get_function(FunctionName=name)["Configuration"]
        return settings["State"] == "Active" and settings["LastUpdateStatus"] == "Successful"

    wait_until(ready, f"{name} to be ready")
