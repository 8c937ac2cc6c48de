"""How long a run will take, from what earlier turns and loads took: a sum, with an interval around it.

The makespan of one endpoint is Σ over roles of turns × the mean charge of a turn, plus Σ over loads of their mean
seconds. A charge is a turn's share of its endpoint's time (see meter.py), so batching and caching are in it.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.domain import Digest, Role
from orchestrator.measures import TurnRate
from orchestrator.scheduler.rehearse import Spell

Z = 1.645  # nine runs in ten end within the interval, if errors are normal
RUN_SPREAD = 0.05  # of one run's mean charge against another's, until three runs have shown it
_PER_REPLY_TOKEN = 20  # prompt tokens that are read in the time one reply token takes to write
_NEAR = (0.7, 1.4)  # of the number in flight that is asked for
_TELLING = 20  # turns of a role, until their mean is taken at its word
_WASTE = 0.01  # share of the time that loading may take
_SLOTS = 16  # turns for each slot in the smallest wave: the last ones leave slots idle


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one turn of a role costs: mean and standard deviation in seconds, from so many turns.

    `spread` is the relative standard deviation of the mean from run to run; `work` the mean length of such a turn, in
    reply tokens.
    """

    seconds: float
    deviation: float
    turns: int
    spread: float
    work: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What is known of one endpoint: charges by model and role, and seconds of a load by model."""

    charges: Mapping[tuple[str, Role], Charge]
    loads: Mapping[str, float]
    in_flight: int

    @property
    def turns(self) -> int:
        """Turns that the charges rest on."""
        return sum(charge.turns for charge in self.charges.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Seconds from the start; `low` and `high` bound `seconds`. `verdicts`: how many there are by when, in order."""

    seconds: float
    low: float
    high: float
    verdicts: Sequence[tuple[float, int]]

    @property
    def first_verdict(self) -> float | None:
        """When the first verdict is there; None if there is none."""
        return next((at for at, count in self.verdicts if count), None)

    def by(self, seconds: float) -> int:
        """How many verdicts there are by then; between two known moments they come evenly."""
        before = (0.0, 0)
        for at, count in self.verdicts:
            if at > seconds:
                share = (seconds - before[0]) / (at - before[0])
                return before[1] + math.floor((count - before[1]) * share)
            before = at, count
        return before[1]


def charges(
    rates: Iterable[tuple[int | None, TurnRate]], in_flight: int | None
) -> tuple[dict[tuple[str, Role], Charge], int]:
    """The charges of an endpoint's turns with about `in_flight` of them under way, and that number.

    `rates` come with the run that measured them. With `in_flight` None it is the number that got most done: a short run
    spends much of its time looking for it, and beyond it.
    """
    known = list(rates)
    low, high = _NEAR
    if in_flight is None and (best := _best([rate for _, rate in known])) is not None:
        # Fewer in flight cost about as much; more may be beyond what the cache holds.
        in_flight, high = best, 1.0
    if in_flight is None:
        in_flight = _commonest([rate for _, rate in known])
    near = [(run, rate) for run, rate in known if low * in_flight <= rate.in_flight <= high * in_flight]
    groups: defaultdict[tuple[str, Role], list[tuple[int | None, TurnRate]]] = defaultdict(list)
    for run, rate in near:
        groups[rate.model, rate.role].append((run, rate))
    return {key: _charge(group) for key, group in groups.items()}, in_flight


def _best(rates: Sequence[TurnRate]) -> int | None:
    """The number in flight that took the least of the endpoint's time; None if none tells enough of every role."""
    levels: defaultdict[int, dict[tuple[str, Role], tuple[int, float]]] = defaultdict(dict)
    for rate in rates:
        turns, seconds = levels[rate.in_flight].get((rate.model, rate.role), (0, 0.0))
        levels[rate.in_flight][rate.model, rate.role] = turns + rate.turns, seconds + rate.seconds
    roles = {role for spoken in levels.values() for role in spoken}
    means = {
        level: sum(seconds / turns for turns, seconds in spoken.values())
        for level, spoken in levels.items()
        if spoken.keys() == roles and all(turns >= _TELLING for turns, _ in spoken.values())
    }
    return min(means, key=lambda level: means[level], default=None)


def _commonest(rates: Sequence[TurnRate]) -> int:
    turns: Counter[int] = Counter()
    for rate in rates:
        turns[rate.in_flight] += rate.turns
    return max(turns, key=lambda level: (turns[level], level), default=1)


def _charge(group: Sequence[tuple[int | None, TurnRate]]) -> Charge:
    turns = sum(rate.turns for _, rate in group)
    mean = sum(rate.seconds for _, rate in group) / turns
    variance = max(0.0, sum(rate.squares for _, rate in group) / turns - mean**2)
    work = sum(length(rate.prompt_tokens, rate.reply_tokens) for _, rate in group) / turns
    return Charge(seconds=mean, deviation=math.sqrt(variance), turns=turns, spread=_spread(group), work=work)


def _spread(group: Sequence[tuple[int | None, TurnRate]]) -> float:
    runs: defaultdict[int | None, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for run, rate in group:
        runs[run][0] += rate.seconds
        runs[run][1] += rate.turns
    means = [seconds / turns for seconds, turns in runs.values()]
    return statistics.stdev(means) / statistics.mean(means) if len(means) >= 3 else RUN_SPREAD


def length(prompt_tokens: float, reply_tokens: float) -> float:
    """Tokens as the reply tokens that take as long."""
    return prompt_tokens / _PER_REPLY_TOKEN + reply_tokens


def wave_size(costs: Costs | None, chain: Sequence[tuple[str, Role]], swaps: int, slots: int) -> int:
    """Tasks in a wave: so many that `swaps` loads a wave take about 1 % of its time, and no fewer than 16 a slot.

    B = max(n s / (ε w), 16 q): shared formula of batch scheduling with set-up times. 64 while nothing is measured.
    """
    least = _SLOTS * slots
    if costs is None or not costs.loads or any(turn not in costs.charges for turn in chain):
        return max(64, least)
    load_s = statistics.mean(costs.loads.values())
    work_s = sum(costs.charges[turn].seconds for turn in chain)
    return max(least, math.ceil(swaps * load_s / (_WASTE * work_s))) if work_s > 0 else max(64, least)


def forecast(
    spells: Sequence[Spell], costs: Costs, lengths: Mapping[tuple[Digest, Role], float], depth: bool
) -> Forecast | None:
    """The time that these spells take; None where a charge or a load's seconds are not known.

    `lengths` are the lengths of turns to come, by digest and role, where they are known; a turn twice as long
    as those measured is charged twice. With `depth` tasks go from their first turn to their verdict one after the
    other, instead of step by step.
    """
    at, variance, drift = 0.0, 0.0, 0.0
    spoken: defaultdict[tuple[str, Role], float] = defaultdict(float)
    verdicts: list[tuple[float, int]] = [(0.0, 0)]
    done = 0
    for spell in spells:
        if spell.step is None or spell.digest is None:
            if spell.load not in costs.loads:
                return None
            at += costs.loads[spell.load]
            verdicts.append((at, done))
            continue
        charge = costs.charges.get((spell.step.model, spell.step.role))
        if charge is None:
            return None
        to_come = lengths.get((spell.digest, spell.step.role))
        longer = 1.0 if to_come is None or not charge.work else to_come / charge.work
        at += spell.turns * charge.seconds * longer
        variance += (charge.deviation * longer) ** 2 * spell.turns
        spoken[spell.step.model, spell.step.role] += spell.turns * longer
        drift += spell.turns * charge.seconds * longer * charge.spread
        done += spell.turns if spell.step.role is Role.JUDGE else 0
        verdicts.append((at, done))
    # The measured mean is off by the same for every turn of a role.
    variance += sum(
        (costs.charges[key].deviation * turns) ** 2 / costs.charges[key].turns for key, turns in spoken.items()
    )
    width = Z * math.sqrt(variance + drift**2)
    if depth:
        verdicts = _streamed(at, done, costs.in_flight)
    return Forecast(seconds=at, low=max(0.0, at - width), high=at + width, verdicts=tuple(_first(verdicts, costs)))


def _streamed(seconds: float, verdicts: int, in_flight: int) -> list[tuple[float, int]]:
    """Depth first the first tasks are through when as many as are in flight have had their share of the time."""
    if not verdicts:
        return [(0.0, 0), (seconds, 0)]
    first = seconds * min(in_flight, verdicts) / verdicts
    return [(0.0, 0), (first, 0), (first, min(1, verdicts)), (seconds, verdicts)]


def _first(verdicts: Sequence[tuple[float, int]], costs: Costs) -> list[tuple[float, int]]:
    """The moment of the first verdict, one round of turns into the first spell that has any."""
    for place, (at, count) in enumerate(verdicts):
        if count:
            before = verdicts[place - 1][0] if place else 0.0
            first = min(at, before + (at - before) * min(1.0, costs.in_flight / count))
            return [*verdicts[:place], (first, 1), *verdicts[place:]] if count > 1 else list(verdicts)
    return list(verdicts)
