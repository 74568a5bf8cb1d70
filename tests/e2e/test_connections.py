"""Connections: one address may have many, and nobody may have all."""

import contextlib
import resource
import socket

import pytest
from harness import aws

# What the server lets one address have, and a few that it does not.
OF_ONE, MORE = 3072, 8


def answers(connection):
    connection.sendall(b"GET /_lamplight/health HTTP/1.1\r\nHost: lamp\r\n\r\n")
    return connection.recv(100).startswith(b"HTTP/1.1 200 ")


def is_closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.fixture
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OF_ONE + 1024
    if hard < wanted:
        pytest.skip(f"{wanted} descriptors are more than the limit of {hard}")
    # The server inherits it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_address_leaves_places_for_others(descriptors, own_server):
    server = own_server()
    place = ("127.0.0.1", server.port)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(place, 10)) for _ in range(OF_ONE + MORE)]
        assert all(is_closed(one) for one in crowd[-MORE:])
        assert answers(crowd[0])
        assert answers(stack.enter_context(socket.create_connection(place, 10, ("127.0.0.2", 0))))
    # Places are given back.
    assert aws.client(server.access()).list_functions()["Functions"] == []
