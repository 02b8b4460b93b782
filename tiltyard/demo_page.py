"""The page on which a demo ends."""

import math
from typing import Any

from rich.console import Console
from rich.table import Table

_MOST_SIGNS = 400


def show(console: Console, told: dict[str, Any]) -> None:
    """Prints a summary as `summary.json` has it."""
    console.rule(f"What came of it: {told['stream']}")
    if told["served"]:
        console.print(comparison(told))
        console.print(_verdict(told), highlight=False)
    console.print()
    for line in _events(told):
        console.print(line, highlight=False)
    console.print()
    for check in told["checks"]:
        mark = "[green]yes[/]" if check["ok"] else "[bold red]NO [/]"
        console.print(f"{mark}  {check['what']} ({check['found']})", highlight=False)
    console.print()
    for name, link in told["links"].items():
        console.print(f"{name:13} {link}", highlight=False, soft_wrap=True)
    console.print(f"{'numbers':13} {told['state']}/summary.json", highlight=False, soft_wrap=True)


def comparison(told: dict[str, Any]) -> Table:
    """Quality of every way to answer, in stretches of the stream."""
    title = f"{told['measure']} in stretches of {told['rows']:,} labelled rows, and over all"
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    shown.add_column("rows", no_wrap=True)
    for end in told["stretches"][1:]:
        shown.add_column(f"to {end:,}", justify="right", no_wrap=True)
    shown.add_column("all", justify="right")
    baselines = told["baselines"]
    rows = [
        ("[bold]served by Tiltyard[/]", told["served"]),
        ("fitted once, never updated", baselines["never_updated"]),
        (baselines["nightly_retrain"]["what"], baselines["nightly_retrain"]),
        *((f"{name}, alone", line) for name, line in told["learners"].items()),
    ]
    for name, line in rows:
        shown.add_row(name, *(_number(value) for value in [*line["stretches"], line["quality"]]))
    return shown


def _verdict(told: dict[str, Any]) -> str:
    served, frozen = told["served"]["stretches"][-1], told["baselines"]["never_updated"]["stretches"][-1]
    real = "" if told["real"] else " The rows were made up by a program."
    return (
        f"In the last stretch: {_number(served)} as served, {_number(frozen)} never updated.{real}\n"
        "Both baselines are flattered: they are fitted and live the moment their labels are there, and nobody checks "
        "them first.\nWhere a learner has no number it had not joined yet; its mean over all is over fewer rows."
    )


def _events(told: dict[str, Any]) -> list[str]:
    lines = [
        f"[bold]{one['kind']}[/] version {one['version']}: {one['reason']}"[:_MOST_SIGNS] for one in told["bootstrap"]
    ]
    lines += [
        f"[bold]{one['kind']}[/] version {one['version']}, by evidence: {one['reason']}"[:_MOST_SIGNS]
        for one in told["promotions"]
    ]
    if not told["promotions"]:
        lines.append("Evidence has decided no promotion.")
    answered = (f"{one['n']:,} by version {version} ({one['learner']})" for version, one in told["versions"].items())
    lines.append(f"{told['predictions']:,} answers{': ' if told['versions'] else ''}{', '.join(answered)}")
    if delay := told["label_delay_s"]:
        lines.append(f"labels came {delay['median']:.1f} s after the question (median), {delay['p99']:.1f} s (99 %)")
    latency = told["replay"]["latency_ms"]
    if latency["p50"] is not None:
        lines.append(f"answers took {latency['p50']:.1f} ms (median), {latency['p99']:.1f} ms (99 %), replay included")
    if told["drift"]:
        lines.append(f"drift: {told['drift']}")
    if told["restarts"]:
        lines.append("restarted: " + ", ".join(f"{name} {count}" for name, count in told["restarts"].items()))
    return lines


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"
