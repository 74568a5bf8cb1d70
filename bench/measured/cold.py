"""Cold calls: the first call of a function that was never called, and what a start cannot do without.

Pools are full when the server has had time to fill them, as it has between calls that come one after
the other; they are empty for the first call after the server's start.
"""

import pathlib
import site
import tempfile

import meter
from contenders import EVENT, FUNCTIONS, HERE, LANGUAGES, Lamplight, command, plain_environment, right_answer
from harness import code, place
from measured.memory import answering
from meter import Run

WITH_BOTO3 = """
import boto3

client = boto3.client("s3", region_name="us-east-1")

def handler(event, context):
    return event
"""
BOTO3 = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil")


def measure(contenders, sizes):
    runs, answers = {}, {}
    for round_ in range(sizes.rounds):
        turn = round_ % len(contenders)
        for language in LANGUAGES:
            floors(language, sizes, runs)
            for one in contenders[turn:] + contenders[:turn]:
                if language not in one.languages:
                    continue
                if (one, language) not in answers:
                    target = one.fresh(language)
                    answers[one, language] = right_answer(one, target)
                    one.discard(target)
                run = runs.setdefault((language, one.name, "one after the other"), Run([]))
                for _ in range(sizes.cold):
                    run.add(first(one, one.fresh(language), answers[one, language]))
        bare(sizes, runs)
        print(f"cold: round {round_ + 1} of {sizes.rounds}", flush=True)
    return rows(runs)


def rows(runs):
    return [
        {"kind": "cold", "language": language, "who": who, "how": how, **run.figures()}
        for (language, who, how), run in runs.items()
    ]


def first(contender, target, answer):
    if isinstance(contender, Lamplight):
        contender.settle()
    run = meter.load(target[0], [contender.request(target)], 1, each=1, expect=answer)
    contender.discard(target)
    return run


def floors(language, sizes, runs):
    """The official client as a plain process, until it asks for its first event; and one event."""
    said = meter.told("runtime", "--starts", sizes.cold, "--cycles", sizes.cold * 5, "--", *command(language),
                      cwd=HERE, env=plain_environment())  # fmt: skip
    for how, field in (("start", "nanoseconds"), ("one event", "cycles")):
        seconds = [taken / meter.SECOND for taken in said[field]]
        runs.setdefault((language, "bare runtime", how), Run([])).add(Run(seconds))


def bare(sizes, runs):
    count = sizes.cold * 2
    seconds = meter.times("bare", "process", "--count", count)
    runs.setdefault(("-", "bare process", "fork, exec, wait"), Run([])).add(Run(seconds))
    if place.isolation() != "namespaces":
        return
    with tempfile.TemporaryDirectory(prefix="bench-sandbox-") as directory:
        # What runs in a sandbox is not its owner.
        pathlib.Path(directory).chmod(0o755)
        seconds = meter.times("bare", "sandbox", "--count", count, "--directory", directory)
    runs.setdefault(("-", "bare sandbox", "start, exec, wait"), Run([])).add(Run(seconds))


def after_start(sizes):
    """The first call after the server's start, when nothing can be ready."""
    runs = {}
    with Lamplight() as lamplight:
        targets = {}
        for language in LANGUAGES:
            target = lamplight.fresh(language)
            targets[language] = target, right_answer(lamplight, target)
        for _ in range(sizes.restarts):
            for language, (target, answer) in targets.items():
                lamplight.server.stop()
                lamplight.server.launch()
                answering(lamplight.server)
                lamplight.port = lamplight.signer.port = lamplight.server.port
                run = meter.load(lamplight.port, [lamplight.request(target)], 1, each=1, expect=answer)
                key = (language, lamplight.name, "first after the server's start")
                runs.setdefault(key, Run([])).add(run)
    print("cold: after starts of the server", flush=True)
    return rows(runs)


def boto3_imported(lamplight, sizes):
    """boto3 with a client at module scope: started anew, and from a snapshot of the version."""
    packages = next(path for path in site.getsitepackages() if pathlib.Path(path, "boto3").is_dir())
    files = {f"python/{name}": data for name, data in code.tree(packages, *BOTO3, "six.py").items()}
    layer = lamplight.client.publish_layer_version(
        LayerName="boto3", Content={"ZipFile": code.zipped(files)}
    )["LayerVersionArn"]  # fmt: skip
    runs, ways = {}, {"boto3 imported": {}, "boto3 imported, snapshot": {"SnapStart": {"ApplyOn": "PublishedVersions"}}}
    for number in range(max(1, sizes.cold * sizes.rounds // 4)):
        for how, more in list(ways.items()):
            source = f"{WITH_BOTO3}# {number} {how}\n"
            found = version_with_boto3(lamplight, layer, source, more)
            if found is None:
                print(f"cold: {how}: no snapshots of {place.python_runtime()} here")
                del ways[how]
                continue
            name, version = found
            lamplight.settle()
            request = lamplight.signer.request(f"{FUNCTIONS}/{name}/invocations?Qualifier={version}", EVENT)
            run = meter.load(lamplight.port, [request], 1, each=1)
            runs.setdefault(("python", lamplight.name, how), Run([])).add(run)
            lamplight.discard((lamplight.port, name))
    print("cold: boto3", flush=True)
    return rows(runs)


def version_with_boto3(lamplight, layer, source, more):
    """A published version; None when it was to have a snapshot and has none."""
    try:
        name = lamplight.create("python", Layers=[layer], MemorySize=512, Code={"ZipFile": code.python(source)}, **more)
    except lamplight.client.exceptions.InvalidParameterValueException:
        # AWS: not every runtime may have snapshots.
        return None
    lamplight.active(name)
    version = lamplight.client.publish_version(FunctionName=name)["Version"]
    lamplight.active(f"{name}:{version}")
    found = lamplight.client.get_function_configuration(FunctionName=name, Qualifier=version)
    if more and found.get("SnapStart", {}).get("OptimizationStatus") != "On":
        lamplight.discard((lamplight.port, name))
        return None
    return name, version
