"""What the scenarios stand on: a server to talk to, clients to talk with, code to deploy."""
