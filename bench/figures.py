"""Figures and tables that every command here prints, and the machine they were measured on."""

import math
import os
import pathlib
import platform


def percentile(values, part):
    """The smallest value that at least `part` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None


def print_table(rows):
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print()


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    return f"{os.cpu_count()} x {model}, kernel {platform.release()}"


def load_average():
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def milliseconds(seconds):
    """As short as it stays exact enough: 0.123, 4.56, 78.9, 1234."""
    if seconds is None:
        return "–"
    value = seconds * 1000
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 1000 else 0
    return f"{value:.{digits}f}"
