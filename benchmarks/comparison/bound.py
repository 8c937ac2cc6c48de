"""The least time a workload can take on the server that keeps time, whatever the order: from its rates alone.

    makespan >= max(all, longest)

    all      loading + sum over models m of (new(m) / prefill(m) + replies(m) / decode(m)) / replicas
    longest  the longest of the debates alone: loading, what is new in its prompts, its replies at one stream's rate

- **loading**: with room for one model, a load for each change of model in a debate's chain, and an unloading between
  any two loads; nothing is computed meanwhile. With room for more, a load may hide behind another model's work, except
  the first. A vLLM loads nothing.
- **new(m)**: prompt tokens that no order can take from a cache. Prompts of two debates share at most `stem` tokens. A
  debate's turns with m between which m need not be unloaded are one sitting: its prompts share what they share. So a
  sitting reads at least its distinct tokens beyond the stem, and each load of m (on vLLM: m once) the stem itself.
- **decode(m)**: tokens/s of as many streams together as are ever served at once: the slots of an Ollama. A vLLM serves
  as many requests as its cache of C blocks holds beside the stem, and each needs b blocks of its own for prompt and
  reply from its beginning to its end. q requests that need b on the mean have q <= C / b, so a token costs at least
  h(b) = 1 / together(C / b) seconds. Replies differ in b, so it is the largest convex function below h that bounds the
  mean, taken at the mean b of all reply tokens.

It is a bound for that server because its GPU loses no time and gains none by any order (`model_server/sharing.py`):
models and phases share its time, and only the number of streams changes how much decoding costs.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from benchmarks.comparison.workload import Asked
from benchmarks.model_server.profile import Profile

Debated = Sequence[Asked]

# What the cards ask for; it decides how many models fit.
CONTEXT = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Seconds, and what they are made of; `loads` is the least number of loads, `cached_share` the most of prompts."""

    seconds: float
    loads: int
    loading_s: float
    reading_s: float
    writing_s: float
    longest_s: float
    cached_share: float


def bound(profile: Profile, debates: Sequence[Debated]) -> Bound:
    """The bound of these debates on a profile; all of them have one chain of models."""
    chain = [asked.model for asked in debates[0]]
    room = resident_at_once(profile, set(chain))
    stem = _stem(debates)
    needed = least_loads(chain, room) if profile.kind == "ollama" else Counter(set(chain))
    new = Counter({model: loads * stem for model, loads in needed.items()})
    written: Counter[str] = Counter()
    for debate in debates:
        new.update(_new(debate, room, stem))
        for asked in debate:
            written[asked.model] += asked.reply_tokens
    rates = {model.name: profile.rates(model) for model in profile.models}
    reading = sum(tokens / rates[model].prefill for model, tokens in new.items())
    cost = _cost_of_a_token(profile, debates, stem)
    writing = sum(tokens * cost[model] for model, tokens in written.items())
    loading = _loading(profile, chain, needed, room)
    longest = loading + max(_alone(profile, debate, room, stem) for debate in debates)
    prompts = sum(asked.prompt.tokens for debate in debates for asked in debate)
    return Bound(
        seconds=max(loading + (reading + writing) / profile.replicas, longest),
        loads=needed.total() if profile.kind == "ollama" else 0,
        loading_s=loading,
        reading_s=reading,
        writing_s=writing,
        longest_s=longest,
        cached_share=1 - new.total() / prompts,
    )


def resident_at_once(profile: Profile, models: set[str]) -> int:
    """How many of these models the server can hold together; one always fits."""
    if profile.kind == "vllm":
        return len(models)
    sizes = {model.name: profile.gib(model, CONTEXT) for model in profile.models if model.name in models}
    room = profile.gpu.room * profile.gpu.vram_gib
    fitting = [
        count
        for count in range(1, min(len(models), profile.ollama.max_loaded) + 1)
        if any(sum(sizes[name] for name in some) <= room for some in combinations(sizes, count))
    ]
    return max(fitting, default=1)


def least_loads(chain: Sequence[str], room: int) -> Counter[str]:
    """Loads by model of one chain when the model that is wanted again last leaves first: no schedule needs fewer.

    N debates of this chain, role by role, need no more than one of them.
    """
    loaded: set[str] = set()
    loads: Counter[str] = Counter()
    for place, model in enumerate(chain):
        if model not in loaded:
            if len(loaded) == room:
                loaded.remove(max(sorted(loaded), key=lambda each: _next(chain[place:], each)))
            loaded.add(model)
            loads[model] += 1
    return loads


def _cost_of_a_token(profile: Profile, debates: Sequence[Debated], stem: int) -> dict[str, float]:
    """The least GPU seconds that a token of a reply takes, by model."""
    rates = {model.name: profile.rates(model) for model in profile.models}
    if profile.kind == "ollama":
        return {name: 1 / rate.together(min(profile.ollama.slots, len(debates))) for name, rate in rates.items()}
    settings, size = profile.vllm, profile.vllm.block_size
    capacity, shared = settings.kv_tokens // size, stem // size
    most = min(settings.max_num_seqs, len(debates))
    needs = [
        (math.ceil((asked.prompt.tokens + asked.reply_tokens) / size) - shared, asked.reply_tokens)
        for debate in debates
        for asked in debate
    ]
    mean = sum(need * tokens for need, tokens in needs) / sum(tokens for _, tokens in needs)
    least, largest = min(need for need, _ in needs), max(need for need, _ in needs)
    [(name, rate)] = rates.items()

    def cost(need: int) -> float:
        return 1 / rate.together(max(1, min(most, math.ceil((capacity - shared) / need))))

    return {name: convex_below(cost, least, largest, mean)}


def convex_below(function: Callable[[int], float], least: int, largest: int, at: float) -> float:
    """The largest convex function below this one on the whole numbers of an interval, at one place of it."""
    below = [(place, function(place)) for place in range(least, math.floor(at) + 1)]
    above = [(place, function(place)) for place in range(math.ceil(at), largest + 1)]
    return min(
        low if place == other else low + (high - low) * (at - place) / (other - place)
        for place, low in below
        for other, high in above
    )


def _next(rest: Sequence[str], model: str) -> float:
    return rest.index(model) if model in rest else math.inf


def _stem(debates: Sequence[Debated]) -> int:
    """The most tokens that prompts of two debates begin with alike: neighbours in alphabetical order share most."""
    prompts = sorted(
        ((asked.prompt, number) for number, debate in enumerate(debates) for asked in debate),
        key=lambda entry: entry[0].text,
    )
    # Prompts of one debate stand together: its own lie between those of the one before and of the one after.
    pairs = [(one, other) for (one, first), (other, second) in pairwise(prompts) if first != second]
    return max((one.shared(other) for one, other in pairs), default=0)


def _sittings(debate: Debated, room: int) -> list[list[Asked]]:
    """A debate's turns in groups of one model that may find it loaded all the time."""
    groups: defaultdict[tuple[str, int], list[Asked]] = defaultdict(list)
    change = 0
    for number, asked in enumerate(debate):
        change += number > 0 and debate[number - 1].model != asked.model
        groups[asked.model, change if room == 1 else 0].append(asked)
    return list(groups.values())


def _new(debate: Debated, room: int, stem: int) -> Counter[str]:
    """Tokens by model that a debate adds to what others have had read."""
    new: Counter[str] = Counter()
    for sitting in _sittings(debate, room):
        for place, asked in enumerate(sitting):
            known = max((asked.prompt.shared(before.prompt) for before in sitting[:place]), default=0)
            new[asked.model] += asked.prompt.tokens - max(stem, known)
    return new


def _loading(profile: Profile, chain: Sequence[str], needed: Counter[str], room: int) -> float:
    if profile.kind == "vllm":
        return 0.0
    load_s = {model.name: profile.load_s(model) for model in profile.models}
    if room > 1:
        return load_s[chain[0]]
    loads = sum(load_s[model] * count for model, count in needed.items())
    return loads + (needed.total() - 1) * profile.ollama.unload_s


def _alone(profile: Profile, debate: Debated, room: int, stem: int) -> float:
    rates = {model.name: profile.rates(model) for model in profile.models}
    reading = sum(tokens / rates[model].prefill for model, tokens in _new(debate, room, stem).items())
    return reading + sum(asked.reply_tokens / rates[asked.model].together(1) for asked in debate)
