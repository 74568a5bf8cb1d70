"""Events and answers from 1 KiB to nearly 6 MiB, one client."""

import meter
from contenders import Api, right_answer

KIB = 1 << 10
SIZES = (KIB, 32 * KIB, 256 * KIB, KIB * KIB, 6 * KIB * KIB - 64)


def measure(contenders, sizes):
    runs = {}
    for language in ("rust", "python"):
        targets = {one: one.fresh(language) for one in contenders if language in one.languages}
        for size in SIZES:
            event = b'"' + b"x" * (size - 2) + b'"'
            for _ in range(sizes.rounds):
                for one, target in targets.items():
                    answer = right_answer(one, target, event)
                    run = meter.load(target[0], [one.request(target, event)], seconds=sizes.seconds / 2, expect=answer)
                    runs.setdefault((language, size, one), meter.Run([])).add(run)
        for one, target in targets.items():
            if isinstance(one, Api):
                one.discard(target)
    return [
        {"kind": "payload", "language": language, "bytes": size, "who": one.name, **run.figures()}
        for (language, size, one), run in runs.items()
    ]
