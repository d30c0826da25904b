"""The tables: medians, ratios, goals, losses."""

import dataclasses
import statistics
from pathlib import Path

from parts.shell import HERE, shorten

README = HERE / "README.md"
# Below this a call belongs to the start of a program, not to an entry.
CALLS_MIN = 0.2
MARKS = ("<!-- newest run: begin, written by bench.py -->", "<!-- newest run: end -->")


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure the project must reach: `key` of `tool` in `case`, as a multiple of the seconds of `base`, or as it is."""

    text: str
    case: str
    tool: str
    base: str | None
    limit: float
    key: str = "seconds"


GOALS = [
    Goal("first copy of many small files, one process", "small", "pmirror", "rsync", 0.30),
    Goal("first copy of many small files, one process", "small", "pmirror", "tar", 0.47),
    Goal("first copy of many small files, one process", "small", "pmirror", "floor", 1.15),
    Goal("the same, 4 ranks, without start-up", "small", "pmirror-4", "floor", 1.3, "without_start"),
    Goal("unchanged pass, one process", "unchanged", "pmirror", "rsync", 0.65),
    Goal("unchanged pass, one process", "unchanged", "pmirror", "floor", 1.3),
    Goal("the same, the walk alone", "unchanged", "pmirror", "floor", 1.15, "walk"),
    Goal("1 ms an operation, 16 ranks of 2 threads", "slow", "pmirror-16x2", "rsync", 0.06),
    Goal("1 ms an operation, 32 workers against one", "slow", "pmirror-16x2", "pmirror-1x1", 0.05),
    Goal("empty sync with 8 ranks, after MPI_Init", "empty", "pmirror-8", None, 0.3, "own_total"),
]


def median(record: dict, tool: str, key: str) -> float | None:
    values = [run[key] for run in record["samples"].get(tool, []) if key in run]
    return statistics.median(values) if values else None


def ratio(record: dict, tool: str, base: str, key: str, base_key: str | None = None) -> float | None:
    """Median of the ratios within the rounds: what slows the machine for minutes slows both sides of a pair."""
    bases = {run["round"]: run[base_key or key] for run in record["samples"].get(base, [])}
    runs = [run for run in record["samples"].get(tool, []) if run["round"] in bases and key in run]
    pairs = [run[key] / bases[run["round"]] for run in runs]
    return statistics.median(pairs) if pairs else None


def render(results: dict) -> str:
    parts = [render_setting(results), render_goals(results["cases"])]
    parts += [render_case(case, record) for case, record in results["cases"].items()]
    parts += [render_losses(results["cases"]), render_calls(results["calls"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_setting(results: dict) -> str:
    machine, settings = results["machine"], results["settings"]
    return (
        f"{results['date']}: {machine['cores']} cores ({machine['processor']}), {machine['memory']}, Linux "
        f"{machine['kernel']}, as {machine['user']}; source on {machine['source']}, target: {machine['target']}; "
        f"{settings['rounds']} rounds, scale {settings['scale']:g}, {settings['threads']} threads. "
        f"Command: `{results['command']}`"
    )


def render_goals(cases: dict) -> str:
    rows = [["goal", "at most", "reached", ""]]
    for goal in (goal for goal in GOALS if goal.case in cases):
        record = cases[goal.case]
        if goal.base:
            value, unit = ratio(record, goal.tool, goal.base, goal.key, "seconds"), f" x {goal.base}"
        else:
            value, unit = median(record, goal.tool, goal.key), " s"
        verdict = "not measured" if value is None else "PASS" if value <= goal.limit else "**MISS**"
        rows.append([goal.text, f"{goal.limit:.2f}{unit}", number(value), verdict])
    return table(rows) if len(rows) > 1 else ""


def render_case(case: str, record: dict) -> str:
    tree = record["tree"]
    others = [run["others"] for runs in record["samples"].values() for run in runs] or [0]
    title = f"### {case}: {tree['entries']:,} entries, {tree['bytes'] / 1e6:,.0f} MB"
    noise = f"The rest of the machine used {statistics.median(others):.2f} cores meanwhile."
    rows = [
        [
            "tool",
            "seconds",
            "from-to",
            "closing sync",
            "both",
            "x rsync",
            "x floor",
            "both x rsync",
            "CPU s",
            "without start-up",
            "copy",
        ]
    ]
    for tool in record["commands"]:
        if tool in record["failed"]:
            rows.append([tool, "failed", *[""] * 9, record["failed"][tool].replace("|", "/")])
        elif tool in record["samples"]:
            rows.append([tool, *case_row(record, tool)])
    return f"{title}\n\n{noise}\n\n{table(rows)}"


def case_row(record: dict, tool: str) -> list[str]:
    seconds = [run["seconds"] for run in record["samples"][tool]]
    cpu = median(record, tool, "user") + median(record, tool, "system")
    return [
        number(statistics.median(seconds)),
        f"{min(seconds):.2f}-{max(seconds):.2f}",
        number(median(record, tool, "sync")),
        number(median(record, tool, "total")),
        number(ratio(record, tool, "rsync", "seconds")),
        number(ratio(record, tool, "floor", "seconds")),
        number(ratio(record, tool, "rsync", "total")),
        number(cpu),
        number(median(record, tool, "without_start")),
        judged(record["checks"].get(tool, {})),
    ]


def judged(verdict: dict) -> str:
    differences, touched = verdict.get("differences", 0), verdict.get("touched", 0)
    notes = [f"{differences:,} differ"] if differences else []
    notes += [f"{touched:,} touched"] if touched else []
    return ", ".join(notes) or "complete"


def render_losses(cases: dict) -> str:
    """Where any other tool is faster than pmirror with one process. The floor is no tool."""
    if not any("pmirror" in record["samples"] for record in cases.values()):
        return ""
    lines = []
    for case, record in cases.items():
        tools = [tool for tool in record["samples"] if not tool.startswith(("pmirror", "floor"))]
        losses = [loss for tool in tools if (loss := lost(record, tool))]
        if losses:
            lines.append(f"- {case}: pmirror takes {', '.join(losses)}")
    return "### Where pmirror loses\n\n" + ("\n".join(lines) or "Nowhere in this run.")


def lost(record: dict, tool: str) -> str:
    seconds, total = ratio(record, "pmirror", tool, "seconds"), ratio(record, "pmirror", tool, "total")
    if seconds is None or max(seconds, total) <= 1:
        return ""
    return f"{seconds:.2f} x {tool} ({total:.2f} with the closing sync)"


def render_calls(calls: dict) -> str:
    if not calls:
        return ""
    names = sorted({name for counts in calls.values() for name, count in counts.items() if count >= CALLS_MIN})
    # 'total' is strace's last line, and ours.
    names = [name for name in names if name != "total"] + ["total"]
    rows = [["system calls per entry", *calls]]
    rows += [[name, *(f"{counts[name]:.2f}" if name in counts else "" for counts in calls.values())] for name in names]
    return "### Counted, not timed\n\n" + table(rows)


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def update_readme(report: str, folder: Path) -> None:
    text = README.read_text()
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    kept = f"Raw figures: [{shorten(folder)}]({folder.relative_to(HERE)}/results.json)"
    README.write_text(f"{before}{MARKS[0]}\n\n{report}\n{kept}\n\n{MARKS[1]}{after}")
