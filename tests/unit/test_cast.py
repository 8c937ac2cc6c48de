"""A debate is read from files alone; the wrong file is named, and the digest follows what shapes a verdict."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.assets import Folders, shipped
from orchestrator.cast import Debate, debate_names, read_debate
from orchestrator.domain import Digest, Role, Step, Verdict
from orchestrator.errors import CastError

Read = Callable[[], Debate]

DEBATE = "prompts/third/debate.toml"
ADVOCATE = "actors/advocate.toml"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder with own cards, and a third debate that nobody ships."""
    shutil.copytree(shipped() / "actors", tmp_path / "actors")
    shutil.copytree(shipped() / "prompts" / "candidate", tmp_path / "prompts" / "third")
    return tmp_path


def third(home: Path) -> Debate:
    return read_debate("third", Folders(home))


def edit(home: Path, file: str, old: str, new: str) -> None:
    path = home / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("name", ["candidate", "posting"])
def test_shipped_debate_is_read(name: str, tmp_path: Path) -> None:
    debate = read_debate(name, Folders(tmp_path))

    assert debate.name == name
    assert [actor.role for actor in debate.actors] == list(Role)
    assert (debate.scale.minimum, debate.scale.maximum) == (0, 10)
    assert len(debate.digest) == 16
    assert debate.first == Step(role=Role.ADVOCATE, round=1, model="rehearsal")


def test_copied_folder_is_another_debate(home: Path) -> None:
    edit(home, DEBATE, "Does this candidate fit the given role?", "Is this a haiku?")
    edit(home, "prompts/third/rules.md", "The question:", "What is asked:")

    debate = third(home)

    assert debate.question == "Is this a haiku?"
    assert debate.rules.count("What is asked: {{ question }}") == 1
    assert debate_names(Folders(home)) == ["candidate", "posting", "third"]


def test_another_persona_is_another_card(home: Path) -> None:
    shutil.copyfile(home / ADVOCATE, home / "actors" / "optimist.toml")
    edit(home, "actors/optimist.toml", 'model = "rehearsal"', 'model = "qwen2.5:7b"')
    edit(home, DEBATE, 'advocate = "advocate"', 'advocate = "optimist"')

    actor = third(home).actor(Role.ADVOCATE)

    assert (actor.card, actor.model) == ("optimist", "qwen2.5:7b")


def test_users_file_wins_over_shipped(tmp_path: Path) -> None:
    plain = read_debate("posting", Folders(tmp_path))
    own = tmp_path / "prompts" / "posting" / "record.md"
    own.parent.mkdir(parents=True)
    own.write_text("{{ text }}", encoding="utf-8")

    debate = read_debate("posting", Folders(tmp_path))

    assert debate.record == "{{ text }}"
    assert debate.rules == plain.rules
    assert debate.digest != plain.digest


def test_users_card_wins_over_shipped(home: Path) -> None:
    edit(home, ADVOCATE, "temperature = 0.3", "temperature = 1.5")

    assert read_debate("candidate", Folders(home)).actor(Role.ADVOCATE).sampling.temperature == 1.5


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (ADVOCATE, "temperature = 0.3", "temprature = 0.3", "temprature: extra inputs are not permitted"),
        (ADVOCATE, "temperature = 0.3", "temperature = 3", "temperature: input should be less than or equal to 2"),
        (ADVOCATE, "seed = 1", 'seed = "1"', "seed: input should be a valid integer"),
        (ADVOCATE, "context = 8192", "context = 0", "context: input should be greater than or equal to 256"),
        (ADVOCATE, "seed = 1", "seed = 1\nfallback_context = 8192", "fallback_context must be below context (8192)"),
        (ADVOCATE, 'role = "advocate"', 'role = "critic"', "this card plays the critic"),
        (ADVOCATE, 'role = "advocate"', 'role = "king"', "role: input should be 'advocate', 'critic' or 'judge'"),
        (ADVOCATE, 'prompt = "advocate.md"', 'prompt = "../x.md"', "prompt: string should match pattern"),
        (ADVOCATE, 'model = "rehearsal"', "model = rehearsal", "cannot be read: Invalid value (at line 3"),
        (DEBATE, "[protocol]", "[protokol]", "protokol: extra inputs are not permitted"),
        (DEBATE, "rounds = 1", "rounds = 11", "protocol.rounds: input should be less than or equal to 10"),
        (DEBATE, 'judge = "judge"', "", "[cast] names no card for: judge"),
        (DEBATE, 'judge = "judge"', 'jury = "judge"', "cast.jury.[key]: input should be 'advocate', 'critic' or"),
        (DEBATE, "minimum = 0", "minimum = 10", "scale: minimum must be below maximum"),
        (DEBATE, "minimum = 0", "minimum = 0.5", "scale.minimum: input should be a valid integer"),
        (DEBATE, "from = 4", "from = 5", "labels must cover the scale without gaps: partial should begin at 4"),
        (DEBATE, "to = 3", "to = 4", "labels must cover the scale without gaps: partial should begin at 5"),
        (DEBATE, "to = 10", "to = 9", "labels end at 9, the scale at 10"),
        (DEBATE, 'name = "poor"', 'name = "Poor!"', "labels.0.name: string should match pattern"),
        (DEBATE, "[record]", "[record", "cannot be read: Expected ']'"),
        (DEBATE, 'question = "', 'quest = "', "question: field required; quest: extra inputs"),
        ("prompts/third/rules.md", "{{ question }}", "{{ qustion }}", "rules.md:3: uses qustion, which nobody sets"),
        ("prompts/third/rules.md", "{{ question }}", "{{ round }}", "rules.md:3: uses round, which nobody sets"),
        ("prompts/third/record.md", "{{ cv }}", "{{ vc }}", "record.md:7: uses vc, which nobody sets; it may use: cv,"),
        ("prompts/third/judge.md", "You are", "{{ cv }}", "judge.md:1: uses cv, which nobody sets"),
        ("prompts/third/critic.md", "{% endif %}", "{% fi %}", "critic.md:1: Encountered unknown tag 'fi'"),
        ("prompts/third/judge.md", "You are", "{{ scale. }}", "judge.md:1: expected name or number"),
        (
            "prompts/third/judge.md",
            "You are",
            "{{ question|shout }}",
            "judge.md:1: No filter named",
        ),
        ("prompts/third/judge.md", "You are", "{% include 'x' %}", "judge.md:1: a prompt cannot take in another"),
    ],
)
def test_wrong_file_is_named(home: Path, file: str, old: str, new: str, says: str) -> None:
    edit(home, file, old, new)

    with pytest.raises(CastError) as refused:
        third(home)

    assert str(refused.value).startswith(str(home / file))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("file", [DEBATE, ADVOCATE, "prompts/third/rules.md", "prompts/third/record.md"])
def test_other_encoding_is_refused(home: Path, file: str) -> None:
    (home / file).write_bytes("# Größe\n".encode("latin-1"))

    with pytest.raises(CastError, match="can't decode byte 0xf6") as refused:
        third(home)

    assert str(refused.value).startswith(str(home / file))


@pytest.mark.parametrize("file", ["rules.md", "record.md", "advocate.md", "critic.md", "judge.md"])
def test_missing_prompt_is_named(home: Path, file: str) -> None:
    (home / "prompts" / "third" / file).unlink()

    with pytest.raises(CastError, match=f"prompts/third/{file} is missing"):
        third(home)


@pytest.mark.parametrize("card", ["nobody", "../actors/judge", ""])
def test_missing_card_is_named(home: Path, card: str) -> None:
    edit(home, DEBATE, 'critic = "critic"', f'critic = "{card}"')

    with pytest.raises(CastError) as refused:
        third(home)

    says = f"prompts/third/debate.toml: [cast] names the card '{card}', but there is no actors/{card}.toml"
    assert str(refused.value) == says


def test_unknown_debate_lists_known_ones(home: Path) -> None:
    with pytest.raises(CastError, match=r"there is no debate 'fourth'.*\(there are: candidate, posting, third\)"):
        read_debate("fourth", Folders(home))


@pytest.mark.parametrize("name", ["", "../third", "Third", "a/b", ".hidden", "third\n"])
def test_odd_name_is_no_debate(home: Path, name: str) -> None:
    with pytest.raises(CastError, match="is no debate's name"):
        read_debate(name, Folders(home))


def changed_digest(home: Path, file: str, old: str, new: str) -> tuple[Digest, Digest]:
    before = third(home).digest
    edit(home, file, old, new)
    return before, third(home).digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("prompts/third/advocate.md", "You speak for", "You argue for"),
        ("prompts/third/critic.md", "You speak against", "You argue against"),
        ("prompts/third/judge.md", "You are the judge.", "You decide."),
        ("prompts/third/rules.md", "observed; shadowed", "shadowed"),
        ("prompts/third/record.md", "Role: ", "Post: "),
        (ADVOCATE, 'model = "rehearsal"', 'model = "rehearsal-2"'),
        (ADVOCATE, "temperature = 0.3", "temperature = 0.4"),
        (ADVOCATE, "seed = 1", "seed = 4"),
        (ADVOCATE, "reply_limit = 700", "reply_limit = 701"),
        (DEBATE, "Does this candidate", "Would this candidate"),
        (DEBATE, "rounds = 1", "rounds = 2"),
        (DEBATE, "early_end = true", "early_end = false"),
        (DEBATE, 'measures = "fit', 'measures = "suitability'),
        (DEBATE, 'low = "lacks', 'low = "misses'),
        (DEBATE, 'high = "shows all', 'high = "proves all'),
        (DEBATE, 'name = "strong"', 'name = "good"'),
        (DEBATE, "optional = []", 'optional = ["notes"]'),
    ],
)
def test_shape_of_verdict_changes_digest(home: Path, file: str, old: str, new: str) -> None:
    before, after = changed_digest(home, file, old, new)

    assert before != after


@pytest.mark.parametrize(
    "line",
    ["context = 4096", "context = 8192\nfallback_context = 4096", 'context = 8192\nfallback_model = "rehearsal-2"'],
)
def test_loading_of_all_cards_changes_digest(home: Path, line: str) -> None:
    before = third(home).digest
    for card in ("advocate", "critic", "judge"):
        edit(home, f"actors/{card}.toml", "context = 8192", line)

    assert third(home).digest != before


def test_limits_of_labels_change_digest(home: Path) -> None:
    before = third(home).digest
    edit(home, DEBATE, "to = 3", "to = 4")
    edit(home, DEBATE, "from = 4", "from = 5")

    assert third(home).digest != before


def test_ends_of_scale_change_digest(home: Path) -> None:
    before = third(home).digest
    edit(home, DEBATE, "minimum = 0", "minimum = 1")
    edit(home, DEBATE, "from = 0", "from = 1")

    assert third(home).digest != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (ADVOCATE, "timeout_s = 180", "timeout_s = 600"),
        (ADVOCATE, "# 0 to 2", "# between 0 and 2"),
        (ADVOCATE, "seed = 1", 'seed = 1\nfallback_context = 0\nfallback_model = ""'),
        (DEBATE, "# Does a candidate fit a role?", ""),
        (DEBATE, 'key = "id"', 'key = "number"'),
        (DEBATE, "[scale]", "\n\n[scale]   # the one scale"),
    ],
)
def test_outer_things_keep_digest(home: Path, file: str, old: str, new: str) -> None:
    before, after = changed_digest(home, file, old, new)

    assert before == after


def test_name_of_card_keeps_digest(home: Path) -> None:
    shutil.copyfile(home / ADVOCATE, home / "actors" / "optimist.toml")

    before, after = changed_digest(home, DEBATE, 'advocate = "advocate"', 'advocate = "optimist"')

    assert before == after


@pytest.mark.parametrize(
    ("score", "label"), [(0, "poor"), (3, "poor"), (4, "partial"), (6, "partial"), (7, "strong"), (10, "strong")]
)
def test_label_follows_from_score(home: Path, score: int, label: str) -> None:
    assert third(home).verdict(score) == Verdict(score=score, label=label)


def test_labels_may_stand_in_any_order(home: Path) -> None:
    edit(home, DEBATE, '[[labels]]\nname = "poor"\nfrom = 0\nto = 3\n', "")
    with (home / DEBATE).open("a", encoding="utf-8") as file:
        file.write('\n[[labels]]\nname = "poor"\nfrom = 0\nto = 3\n')

    assert third(home).verdict(0).label == "poor"
