"""Two pictures: when which model was loaded, before and after; and throughput against jobs in flight.

Matplotlib is imported only here, and only when pictures are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.comparison.direct import Point
from benchmarks.comparison.servers import Json

# Colours that people who see no red or no green tell apart (Okabe and Ito).
_LOADED = ("#0072B2", "#E69F00", "#009E73")
_LOADING = "#333333"
_LEAVES = ("evict", "unload", "leave", "abort")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A model loading, or loaded, from one simulated second to another."""

    model: str
    loading: bool
    begins: float
    ends: float


def spans(events: Sequence[Json]) -> list[Span]:
    """The residency of every model, in seconds from the first load on."""
    found: list[Span] = []
    open_since: dict[str, tuple[bool, float]] = {}
    zero = next((event["t"] for event in events if event["event"] == "load_begins"), 0.0)
    last = max((event["t"] for event in events), default=0.0)

    def close(model: str, now: float) -> None:
        if model in open_since:
            loading, since = open_since.pop(model)
            found.append(Span(model=model, loading=loading, begins=since - zero, ends=now - zero))

    for event in events:
        kind, model, now = event["event"], event["model"], event["t"]
        if kind in ("load_begins", "load", "reload", *_LEAVES):
            close(model, now)
        if kind in ("load_begins", "load", "reload"):
            open_since[model] = (kind == "load_begins", now)
    for model in list(open_since):
        close(model, last)
    return found


def draw_swaps(timelines: Mapping[str, Sequence[Json]], file: Path) -> None:
    """One panel for each timeline, over one axis of minutes."""
    plt = _pyplot()
    figure, panels = plt.subplots(
        len(timelines), 1, sharex=True, figsize=(9, 1.6 * len(timelines) + 0.8), squeeze=False
    )
    for panel, (title, events) in zip(panels[:, 0], timelines.items(), strict=True):
        found = spans(events)
        models = sorted({span.model for span in found})
        for place, model in enumerate(models):
            for loading, colour in ((False, _LOADED[place % len(_LOADED)]), (True, _LOADING)):
                bars = [
                    (span.begins / 60, (span.ends - span.begins) / 60)
                    for span in found
                    if span.model == model and span.loading is loading
                ]
                panel.broken_barh(bars, (place - 0.4, 0.8), facecolors=colour, linewidth=0)
        loads = sum(span.loading for span in found)
        panel.set_title(f"{title}: {loads} loads", loc="left", fontsize=10)
        panel.set_yticks(range(len(models)), models, fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("simulated minutes; dark: loading")
    _save(plt, figure, file)


def draw_cliff(sweeps: Mapping[int, Sequence[Point]], settled: Mapping[int, tuple[float, float]], file: Path) -> None:
    """A line for each cache; `settled` is where ours came to rest: jobs in flight and throughput."""
    plt = _pyplot()
    figure, panel = plt.subplots(figsize=(9, 4))
    for (kv_tokens, points), colour in zip(sweeps.items(), _LOADED, strict=False):
        panel.plot(
            [point.in_flight for point in points],
            [point.throughput for point in points],
            marker=".",
            color=colour,
            label=f"cache of {kv_tokens:,} tokens",
        )
        if kv_tokens in settled:
            panel.plot(*settled[kv_tokens], marker="*", markersize=15, color=colour, linestyle="none")
    panel.plot([], [], marker="*", markersize=12, color=_LOADING, linestyle="none", label="where orchestrate settled")
    panel.set_xscale("log", base=2)
    ticks = sorted(
        {point.in_flight for points in sweeps.values() for point in points if point.in_flight.bit_count() == 1}
    )
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.set_ylim(bottom=0)
    panel.set_xlabel("debates in flight")
    panel.set_ylabel("debates a simulated second")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize=9)
    _save(plt, figure, file)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    # The same figures give the same file, and text stays text.
    mpl.rcParams.update({"svg.hashsalt": "orchestrate", "svg.fonttype": "none"})
    from matplotlib import pyplot

    return pyplot


def _save(plt: Any, figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
