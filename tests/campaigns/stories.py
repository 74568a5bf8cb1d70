"""What clients were promised, thing by thing: the states that each has been brought to, in order.

A state counts from the moment that its answer was sent, which the recording knows. What is found
later has to be the last state that counts, or one that was asked for after it.
"""

import collections
import itertools
import threading


class Stories:
    def __init__(self):
        self._lock = threading.Lock()
        self._states = collections.defaultdict(lambda: [None])
        # Request id to what its answer promises.
        self._answers = {}
        self.reached = {}

    def change(self, thing, state, call):
        """Asks for a new state of `thing`; `call` gives the id of the request that was answered."""
        with self._lock:
            self._states[thing].append(state)
            number = len(self._states[thing]) - 1
        answered = call()
        if answered is not None:
            with self._lock:
                self._answers[answered] = (thing, number)

    def begin(self):
        """Nothing has been answered yet."""
        self.reached = {}

    def answer(self, request_id):
        if request_id in self._answers:
            thing, number = self._answers[request_id]
            self.reached[thing] = max(number, self.reached.get(thing, 0))

    def wrong(self, kind, found):
        """What is not as it was promised, in words. `found` has the state of each thing there is."""
        things = [thing for thing in self._states if thing[0] == kind]
        for thing in itertools.chain(things, (thing for thing in found if thing not in self._states)):
            allowed = self._states.get(thing, [None])[self.reached.get(thing, 0) :]
            if found.get(thing) not in allowed:
                yield f"{thing}: {found.get(thing)!r} is none of {allowed[:3]}"

    def promised(self, kind):
        """Of each thing that was answered for: thing, and the states it may be in."""
        for thing, number in self.reached.items():
            if thing[0] == kind:
                yield thing, self._states[thing][number:]
