"""Warm calls: the environment exists. One client for the time, many for the number of calls."""

import time

import load
import meter
from contenders import EVENT, LANGUAGES, Api, right_answer


CLIENTS = (1, 32, 64)


def measure(contenders, sizes):
    """Rows of every contender, language and number of clients; rounds are interleaved, and each
    begins with another contender, so that a busy minute of the machine hits all of them."""
    runs, targets = {}, {}
    for round_ in range(sizes.rounds):
        turn = round_ % len(contenders)
        for language in LANGUAGES:
            taking = [one for one in contenders[turn:] + contenders[:turn] if language in one.languages]
            for clients in CLIENTS:
                for contender in (one for one in taking if clients in one.clients):
                    key = (contender, language)
                    if key not in targets:
                        target = contender.fresh(language)
                        targets[key] = target, right_answer(contender, target)
                    run = once(contender, *targets[key], clients, sizes)
                    more = runs.setdefault((language, contender, clients), run)
                    if more is not run:
                        more.add(run)
        print(f"warm: round {round_ + 1} of {sizes.rounds}", flush=True)
    return [
        {"kind": "warm", "language": language, "who": contender.name, "clients": clients, **run.figures()}
        for (language, contender, clients), run in runs.items()
    ]  # fmt: skip


def once(contender, target, answer, clients, sizes):
    request = contender.request(target)
    if clients > 1:
        # So many environments have to be there before they are timed.
        meter.load(target[0], [request], clients, each=2)
    return meter.load(target[0], [request], clients, seconds=sizes.seconds, expect=answer)


def hops(echo, sizes):
    """The load generator against bare hyper: what every exchange here costs at least."""
    request = load.plain(echo, "/", EVENT)
    rows = []
    for clients in CLIENTS:
        run = meter.load(echo, [request], clients, seconds=sizes.seconds * sizes.rounds, expect=EVENT)
        rows.append({"kind": "warm", "language": "-", "who": "bare hyper echo", "clients": clients,
                     **run.figures()})  # fmt: skip
    return rows


def through_boto3(contenders, sizes):
    """The same function as an application calls it, signing and all."""
    rows = []
    contenders = [one for one in contenders if isinstance(one, Api)]
    names = {one: one.fresh("python")[1] for one in contenders}
    runs = {one: meter.Run([]) for one in contenders}
    for one in contenders:
        right_answer(one, (one.port, names[one]))
    end = time.monotonic() + sizes.seconds * sizes.rounds * len(contenders)
    while time.monotonic() < end:
        for one in contenders:
            start = time.perf_counter()
            answer = one.client.invoke(FunctionName=names[one], Payload=EVENT)
            answer["Payload"].read()
            runs[one].seconds.append(time.perf_counter() - start)
    for one in contenders:
        rows.append({"kind": "boto3", "language": "python", "who": one.name, "clients": 1, **runs[one].figures()})
        one.discard((one.port, names[one]))
    return rows
