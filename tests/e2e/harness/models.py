"""Requests made from the service models: valid ones, and ones with a single constraint broken.

All choices come from one `random.Random`, so that a seed says everything. Constraints are those of
the models; what the service thinks of values that fit them is for the service to say.
"""

import copy
import json
import pathlib
import re
import warnings

import botocore.model
import botocore.parsers
import botocore.serialize
from botocore.utils import percent_encode_sequence

from . import aws, code, place

MODELS = pathlib.Path(__file__).resolve().parents[3] / "crates" / "wire" / "models"
UNCOVERED = MODELS.parents[2] / "conformance" / "uncovered.txt"
# Deeper than this only what a structure cannot do without.
DEPTH = 4
KINDS = {"string": str, "integer": int, "long": int, "blob": bytes, "list": list, "map": dict}
SCALARS = ("string", "integer", "long", "double", "float", "boolean", "blob", "timestamp")

GOOD = code.python("def handler(event, context):\n    return event\n")

warnings.simplefilter("ignore", FutureWarning)  # Java's patterns, read by Python.
parse = re._parser.parse
constants = re._constants


class Service:
    def __init__(self, name):
        self.name = name
        self.model = botocore.model.ServiceModel(json.loads((MODELS / f"{name}.json").read_text()), name)
        self.protocol = self.model.protocol
        self.serializer = botocore.serialize.create_serializer(self.protocol, include_validation=False)
        self.parser = botocore.parsers.create_parser(self.protocol)
        lines = UNCOVERED.read_text().splitlines()
        missing = {line.split()[1] for line in lines if line.startswith(f"{name} ")}
        self.operations = sorted(set(self.model.operation_names) - missing)

    def send(self, access, operation, values):
        """Sends a request as botocore writes it. Returns the answer and what botocore reads in it."""
        operation = self.model.operation_model(operation)
        request = self.serializer.serialize_to_request(copy.deepcopy(values), operation)
        path, query = request["url_path"], request["query_string"]
        query = query if isinstance(query, str) else percent_encode_sequence(query)
        if query:
            path += ("&" if "?" in path else "?") + query
        body, headers = request["body"], dict(request["headers"])
        if isinstance(body, dict):
            body = percent_encode_sequence(body).encode()
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
        body = body.encode() if isinstance(body, str) else body
        signed_as = self.model.metadata.get("signingName", self.name)
        answer = aws.send(access, request["method"], path, body, headers, signed_as)
        return answer, self.read(answer, operation)

    def read(self, answer, operation):
        shape = operation.output_shape
        if answer.status < 300 and (operation.has_streaming_output or operation.has_event_stream_output):
            return {}
        response = {
            "status_code": answer.status, "body": answer.body, "context": {},
            "headers": botocore.parsers.lowercase_dict(dict(answer.headers.items())),
        }  # fmt: skip
        return self.parser.parse(response, shape)


class Unmakeable(Exception):
    """No value for this shape was found in some tries."""


class Maker:
    """Makes values for shapes. `known(member, random)` may offer a value that leads somewhere."""

    def __init__(self, random, known):
        self.random, self.known = random, known

    def request(self, operation):
        return self.structure(operation.input_shape, 0) if operation.input_shape else {}

    def structure(self, shape, depth):
        values = {}
        for name, member in shape.members.items():
            needed = name in shape.required_members
            if needed or (depth < DEPTH and self.random.random() < 0.35):
                try:
                    values[name] = self.value(member, depth + 1, name)
                except Unmakeable:
                    if needed:
                        raise
        return values

    def value(self, shape, depth, name=""):
        """A value that fits the shape, and the place in the request where it travels."""
        location = shape.serialization.get("location")
        for _ in range(20):
            made = self.anywhere(shape, depth, name)
            if location is None or can_travel(location, made):
                return made
        raise Unmakeable(name)

    def anywhere(self, shape, depth, name):
        known = self.known(name, shape.name, self.random)
        if isinstance(known, KINDS.get(shape.type_name, ())) and not any(True for _ in faults(shape, known)):
            return known
        if shape.type_name == "structure":
            return self.structure(shape, depth)
        if shape.type_name == "list":
            return [self.value(shape.member, depth + 1, name) for _ in range(self.count(shape))]
        if shape.type_name == "map":
            # Fewer than meant, where keys are equal.
            pairs = [
                (self.value(shape.key, depth + 1), self.value(shape.value, depth + 1))
                for _ in range(self.count(shape))
            ]
            made = dict(pairs)
            if any(True for _ in faults(shape, made)):
                raise Unmakeable(shape.name)
            return made
        return self.scalar(shape)

    def count(self, shape):
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 3)
        return self.random.randint(least, max(least, min(most, 3)))

    def scalar(self, shape):
        random, limits = self.random, shape.metadata
        if shape.type_name == "boolean":
            return random.random() < 0.5
        if shape.type_name in ("integer", "long"):
            least, most = limits.get("min", -3), limits.get("max", 2**31 - 1)
            return random.choice([least, most, random.randint(least, most), random.randint(least, min(most, least + 9))])
        if shape.type_name in ("double", "float"):
            return random.uniform(limits.get("min", -1), limits.get("max", 1000))
        if shape.type_name == "timestamp":
            return random.randint(0, 4_000_000_000)
        if shape.type_name == "blob":
            least, most = limits.get("min", 0), limits.get("max", 64)
            return random.randbytes(random.randint(least, max(least, min(most, 64))))
        return self.text(shape)

    def text(self, shape):
        for _ in range(40):
            made = self.text_once(shape)
            if not any(True for _ in faults(shape, made)):
                return made
        raise Unmakeable(shape.name)

    def text_once(self, shape):
        limits = shape.metadata
        if shape.enum:
            return self.random.choice(shape.enum)
        least, most = limits.get("min", 0), limits.get("max", 24)
        if limits.get("pattern"):
            short = self.random.random() < 0.7
            made = self.matching(parse(python_pattern(limits["pattern"])), 8 if short else 40)
            return made[:most]
        length = self.random.randint(least, max(least, min(most, least + 24)))
        return "".join(self.random.choice("abcXYZ019 -_.:/=+@*${}\"'<&é𝟘\\%\n") for _ in range(length))

    def matching(self, tree, most):
        return "".join(self.part(op, argument, most) for op, argument in tree)

    def part(self, op, argument, most):
        random = self.random
        if op is constants.LITERAL:
            return chr(argument)
        if op is constants.NOT_LITERAL:
            return random.choice([c for c in "aZ0-_. " if ord(c) != argument])
        if op is constants.ANY:
            return random.choice("aZ09 -_.:/é{}\"'<&%")
        if op is constants.IN:
            return self.of_class(argument)
        if op in (constants.MAX_REPEAT, constants.MIN_REPEAT):
            least, greatest, inner = argument
            count = random.randint(least, min(greatest, least + most))
            return "".join(self.matching(inner, most) for _ in range(count))
        if op is constants.SUBPATTERN:
            return self.matching(argument[-1], most)
        if op is constants.BRANCH:
            return self.matching(random.choice(argument[1]), most)
        # Anchors and looks ahead: whether they hold is seen afterwards.
        return ""

    def of_class(self, parts):
        if parts[0][0] is constants.NEGATE:
            pattern = _class(parts)
            return self.random.choice([c for c in "aZ09 -_.:/é{}$\"'<&%" if pattern(c)] or ["a"])
        op, argument = self.random.choice(parts)
        if op is constants.LITERAL:
            return chr(argument)
        if op is constants.RANGE:
            return chr(self.random.randint(*argument))
        return self.random.choice({
            constants.CATEGORY_DIGIT: "0189", constants.CATEGORY_SPACE: " \t",
            constants.CATEGORY_WORD: "aZ0_", constants.CATEGORY_NOT_SPACE: "aZ0-/",
        }.get(argument, "x"))  # fmt: skip

    def broken(self, operation):
        """A request that is valid but for one constraint: (request, way to it, what is wrong)."""
        request = self.request(operation)
        chances = list(self.chances(operation.input_shape, request, ()))
        if not chances:
            raise Unmakeable(operation.name)
        way, value, wrong = self.random.choice(chances)
        inner = request
        for step in way[:-1]:
            inner = inner[step]
        if wrong == "absent":
            inner.pop(way[-1], None)
        else:
            inner[way[-1]] = value
        return request, way, wrong

    def chances(self, shape, values, way):
        """Every constraint of what is there, with a value that breaks it and no other."""
        for name, member in shape.members.items():
            here, location = (*way, name), member.serialization.get("location")
            needed = name in shape.required_members
            # Without its label a path is another path, and what is empty there as well.
            if needed and location != "uri" and not member.metadata.get("idempotencyToken"):
                yield here, None, "absent"
            if name not in values or location in ("header", "headers"):
                continue
            for value, wrong in self.wrong_values(member):
                if not (location == "uri" and value == "") and not (location and isinstance(value, list)):
                    yield here, value, wrong
            if member.type_name == "structure" and location is None:
                yield from self.chances(member, values[name], here)

    def wrong_values(self, shape):
        limits, kind = shape.metadata, shape.type_name
        if kind == "string" and not shape.enum:
            longest = limits.get("max")
            if longest is not None and longest < 5000 and "pattern" not in limits:
                yield "a" * (longest + 1), "too long"
            if limits.get("min") and "pattern" not in limits:
                yield "a" * (limits["min"] - 1), "too short"
            if "pattern" in limits and not fits(limits["pattern"], "no such thing§"):
                yield "no such thing§"[: limits.get("max", 99)], "pattern"
        if kind == "string" and shape.enum:
            yield "NoSuchChoice", "choice"
        if kind in ("integer", "long"):
            if limits.get("max") is not None and limits["max"] < 2**31 - 1:
                yield limits["max"] + 1, "too large"
            if limits.get("min") is not None:
                yield limits["min"] - 1, "too small"
        if kind == "list" and limits.get("max") is not None and limits["max"] <= 100:
            if shape.member.type_name in SCALARS:
                try:
                    yield [self.scalar(shape.member) for _ in range(limits["max"] + 1)], "too many"
                except Unmakeable:
                    pass


def can_travel(location, value):
    """What is empty there is as if absent, and clients refuse to write some of the rest."""
    if location in ("header", "headers") and isinstance(value, str):
        return value.isascii() and value.isprintable() and value == value.strip() != ""
    if location == "uri":
        return value not in ("", ".", "..")
    return value != []


def faults(shape, value):
    """The constraints of scalars, lists and maps that a value breaks, as the server has to see it."""
    limits = shape.metadata
    sized = value if shape.type_name in ("integer", "long", "double", "float") else None
    if shape.type_name == "string":
        sized = len(value.encode("utf-16-le")) // 2
        if shape.enum and value not in shape.enum:
            yield "choice"
        if "pattern" in limits and not fits(limits["pattern"], value):
            yield "pattern"
        # XML and headers hold no such characters; nobody sends them.
        if any(ord(c) < 32 and c not in "\t\n" for c in value):
            yield "control"
    elif shape.type_name in ("list", "map", "blob"):
        sized = len(value)
    if sized is not None and limits.get("min") is not None and sized < limits["min"]:
        yield "min"
    if sized is not None and limits.get("max") is not None and sized > limits["max"]:
        yield "max"


def _class(parts):
    refused = []
    for op, argument in parts[1:]:
        refused.append((op, argument))

    def allowed(c):
        for op, argument in refused:
            if op is constants.LITERAL and ord(c) == argument:
                return False
            if op is constants.RANGE and argument[0] <= ord(c) <= argument[1]:
                return False
            if op is constants.CATEGORY and argument is constants.CATEGORY_SPACE and c.isspace():
                return False
        return True

    return allowed


def python_pattern(java):
    return (
        java.replace(r"\p{L}", "a-zA-Zéß").replace(r"\p{Z}", " ").replace(r"\p{N}", "0-9")
        .replace(r"[\w-_]", r"[\w\-_]")
    )  # fmt: skip


def fits(java, value):
    return re.compile(python_pattern(java), re.ASCII).fullmatch(value) is not None


def package(random):
    """Code for a function or a layer, of a few kinds."""
    return random.choice([
        GOOD,
        GOOD,
        code.python("def handler(event, context):\n    raise ValueError(event)\n"),
        code.zipped({"empty": ""}),
        b"no zip file",
    ])  # fmt: skip


def runtime(random):
    return random.choice([place.python_runtime(), "provided.al2023", "python2.7"])
