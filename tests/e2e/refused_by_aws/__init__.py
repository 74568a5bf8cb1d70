"""Scenarios that provoke the recorded refusals: generators of answers, in order."""

from . import code_and_settings, functions_and_aliases, layers, mappings, stored, tags_and_policies

SCENARIOS = [
    *functions_and_aliases.SCENARIOS,
    *code_and_settings.SCENARIOS,
    *layers.SCENARIOS,
    *stored.SCENARIOS,
    *tags_and_policies.SCENARIOS,
    *mappings.SCENARIOS,
]
