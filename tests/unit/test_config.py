"""Settings: a flag wins over the environment, that over the file; what is wrong is named with where it stands."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.app.setup import settings_text
from orchestrator.config import FILE, PREFIX, Config, EndpointSettings, Settings, read_config
from orchestrator.errors import ConfigError

KEY = "sk-planted-0123456789"
GENERAL = [name for name in Settings.model_fields if name != "endpoints"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of the tester's own settings."""
    for variable in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    return monkeypatch


def read(home: Path, text: str = "", **flags: Any) -> Config:
    (home / FILE).write_text(text, encoding="utf-8")
    return read_config(home, flags)


def test_without_anything_defaults_hold(tmp_path: Path) -> None:
    config = read_config(tmp_path, {})

    assert config.settings == Settings()
    assert config.database == tmp_path / "orchestrate.db"
    assert [endpoint.backend for endpoint in config.settings.endpoints.values()] == ["rehearsal"]
    assert config.keys == {}


def test_each_source_wins_over_next(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    text = "max_workers = 2\nmax_attempts = 2\nlease_s = 2\n"
    environment.setenv("ORCHESTRATE_MAX_WORKERS", "3")
    environment.setenv("ORCHESTRATE_MAX_ATTEMPTS", "3")

    settings = read(tmp_path, text, max_workers=4).settings

    assert (settings.max_workers, settings.max_attempts, settings.lease_s, settings.grace_s) == (4, 3, 2, 30)


def test_flag_not_given_changes_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "max_workers = 2", max_workers=None).settings.max_workers == 2


def test_flag_of_zero_is_given(tmp_path: Path) -> None:
    assert read(tmp_path, "grace_s = 5", grace_s=0).settings.grace_s == 0


@pytest.mark.parametrize("name", GENERAL)
def test_environment_may_set_each_key(tmp_path: Path, environment: pytest.MonkeyPatch, name: str) -> None:
    values = {"database": "other.db", "synchronous": "NORMAL", "longest_line": "2048", "order": "waves"}
    value = values.get(name, "64")
    environment.setenv(PREFIX + name.upper(), value)

    assert str(getattr(read(tmp_path).settings, name)).removesuffix(".0") == value


def test_absolute_database_stays_absolute(tmp_path: Path) -> None:
    assert read(tmp_path, 'database = "/srv/night.db"').database == Path("/srv/night.db")


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffmax_workers = 7").settings.max_workers == 7


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_worker = 2", "max_worker: there is no such key; did you mean max_workers?"),
        ("colour = 2", "colour: there is no such key; known: database, synchronous, max_workers"),
        ("[endpoint.x]\nbackend = 'rehearsal'", "endpoint: there is no such key; did you mean endpoints?"),
        (
            "[endpoints.x]\nbackend = 'rehearsal'\nmax_wokers = 2",
            "endpoints.x.max_wokers: there is no such key; did you mean max_workers?",
        ),
        ("max_attempts = 0", "max_attempts: Input should be greater than or equal to 1"),
        ("max_attempts = 'many'", "max_attempts: Input should be a valid integer"),
        ("order = 'width'", "order: Input should be 'auto', 'waves' or 'depth'"),
        ("max_workers = true", "max_workers: must be auto or a whole number"),
        ("wave_size = false", "wave_size: must be auto or a whole number"),
        ("synchronous = 'OFF'", "synchronous: Input should be 'FULL' or 'NORMAL'"),
        ("lease_s = 0.5", "lease_s: Input should be greater than or equal to 1"),
        ("endpoints = 3", "endpoints: Input should be a valid dictionary"),
        ("[endpoints.x]\nbackend = 'lmstudio'", "endpoints.x.backend: Input should be 'ollama', 'vllm', 'llamacpp' or"),
        ("[endpoints.x]\nurl = 'http://h'", "endpoints.x.backend: Field required"),
        ("max_workers = ", "cannot be read: Invalid value (at end of document)"),
    ],
)
def test_wrong_file_names_its_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)

    assert str(refused.value).startswith(f"{tmp_path / FILE}: {says}")


def test_all_wrong_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_attempts: .*; .*lease_s: .*; .*colour: "):
        read(tmp_path, "max_attempts = 0\nlease_s = 0\ncolour = 2")


def test_other_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes("# Größe".encode("latin-1"))

    with pytest.raises(ConfigError, match="can't decode byte 0xf6"):
        read_config(tmp_path, {})


def test_wrong_variable_names_its_source(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ORCHESTRATE_MAX_ATTEMPTS", "four")

    with pytest.raises(ConfigError, match=r"^the environment: max_attempts: Input should be a valid integer"):
        read(tmp_path, "max_attempts = 2")


def test_wrong_flag_names_its_source(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ORCHESTRATE_MAX_ATTEMPTS", "4")

    with pytest.raises(ConfigError, match=r"^a flag: max_attempts: Input should be less than or equal to 100"):
        read(tmp_path, "max_attempts = 2", max_attempts=5000)


@pytest.mark.parametrize("name", ["max_workers", "wave_size"])
@pytest.mark.parametrize(("value", "expected"), [("auto", "auto"), ("7", 7)])
def test_number_or_auto_comes_from_anywhere(
    tmp_path: Path, environment: pytest.MonkeyPatch, name: str, value: str, expected: int | str
) -> None:
    in_file = read(tmp_path, f"{name} = {expected!r}").settings
    in_flag = read(tmp_path, f"{name} = 3", **{name: value}).settings
    environment.setenv(PREFIX + name.upper(), value)
    in_environment = read(tmp_path, f"{name} = 3").settings

    assert {getattr(settings, name) for settings in (in_file, in_flag, in_environment)} == {expected}


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        ("max_workers", "0", 4096),
        ("max_workers", "4097", 4096),
        ("max_workers", "many", 4096),
        ("wave_size", "0", 1000000),
        ("wave_size", "1000001", 1000000),
        ("wave_size", "1.5", 1000000),
    ],
)
def test_neither_number_nor_auto_is_refused(
    tmp_path: Path, environment: pytest.MonkeyPatch, name: str, value: str, most: int
) -> None:
    environment.setenv(PREFIX + name.upper(), value)

    with pytest.raises(ConfigError, match=f"^the environment: {name}: must be auto or .* from 1 to {most}, not"):
        read(tmp_path)


@pytest.mark.parametrize("order", ["auto", "waves", "depth"])
def test_order_comes_from_file(tmp_path: Path, order: str) -> None:
    assert read(tmp_path, f"order = '{order}'").settings.order == order


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("ORCHESTRATE_MAX_WORKER", r" \(did you mean ORCHESTRATE_MAX_WORKERS\?\)"),
        ("ORCHESTRATE_PROFILE", "; known: ORCHESTRATE_DATABASE, "),
        ("ORCHESTRATE_ENDPOINTS", "; known: ORCHESTRATE_DATABASE, "),
    ],
)
def test_unknown_variable_gets_a_hint(
    tmp_path: Path, environment: pytest.MonkeyPatch, variable: str, hint: str
) -> None:
    environment.setenv(variable, "2")

    with pytest.raises(ConfigError, match=f"^the environment sets {variable}, which is no setting{hint}"):
        read(tmp_path)


def test_foreign_variables_are_left_alone(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ORCHESTRATOR_MAX_WORKERS", "2")
    environment.setenv("orchestrate_max_workers", "2")

    assert read(tmp_path).settings == Settings()


def with_key(source: str) -> str:
    return f'[endpoints.gpu]\nbackend = "vllm"\nurl = "http://127.0.0.1:8000/v1"\n{source}\n'


def test_key_comes_from_named_variable(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GPU_KEY", f" {KEY}\n")

    config = read(tmp_path, with_key('api_key_env = "GPU_KEY"'))

    assert config.keys["gpu"].get_secret_value() == KEY


def test_key_comes_from_file_beside(tmp_path: Path) -> None:
    (tmp_path / "gpu.key").write_text(f"{KEY}\n", encoding="utf-8")

    config = read(tmp_path, with_key('api_key_file = "gpu.key"'))

    assert config.keys["gpu"].get_secret_value() == KEY


def test_key_is_never_shown(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GPU_KEY", KEY)

    config = read(tmp_path, with_key('api_key_env = "GPU_KEY"'))

    shown = f"{config} {config!r} {config.keys} {config.settings!r} {config.settings.model_dump_json()}"
    assert "gpu" in shown
    assert KEY not in shown


def test_key_in_the_file_is_refused_unshown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="api_key: there is no such key; did you mean api_key_env") as refused:
        read(tmp_path, with_key(f'api_key = "{KEY}"'))

    assert KEY not in str(refused.value)


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_missing_key_names_its_variable(tmp_path: Path, environment: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        environment.setenv("GPU_KEY", value)

    with pytest.raises(ConfigError, match="endpoint 'gpu': the environment variable GPU_KEY is not set or empty"):
        read(tmp_path, with_key('api_key_env = "GPU_KEY"'))


def test_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"endpoint 'gpu': its api_key_file cannot be read: .*No such file.*"):
        read(tmp_path, with_key('api_key_file = "gpu.key"'))


def test_empty_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "gpu.key").write_text("\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"endpoint 'gpu': its api_key_file .*gpu\.key is empty"):
        read(tmp_path, with_key('api_key_file = "gpu.key"'))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"backend": "ollama"}, "url: an endpoint of backend ollama needs one that begins with http"),
        ({"backend": "vllm", "url": "127.0.0.1:8000"}, "url: an endpoint of backend vllm needs one that begins with"),
        ({"backend": "vllm", "url": "file:///etc/passwd"}, "url: an endpoint of backend vllm needs one that begins"),
        ({"backend": "rehearsal", "url": "http://h"}, "url: an endpoint of backend rehearsal has none"),
        ({"backend": "llamacpp"}, "gguf: an endpoint of backend llamacpp needs it"),
        ({"backend": "llamacpp", "gguf": {"m": "m.gguf"}, "url": "http://h"}, "url: an endpoint of backend llamacpp"),
        ({"backend": "vllm", "url": "http://h", "api_key_env": "A", "api_key_file": "b"}, "set one of them"),
        ({"backend": "ollama", "url": "http://h", "keep_alive": "soon"}, "keep_alive"),
        ({"backend": "rehearsal", "holds": -1}, "holds"),
        ({"backend": "rehearsal", "max_workers": 5000}, "max_workers"),
        ({"backend": "rehearsal", "max_workers": -1}, "max_workers"),
        ({"backend": "rehearsal", "slots": 5000}, "slots"),
        ({"backend": "rehearsal", "weight": 0}, "weight"),
        ({"backend": "rehearsal", "weight": 1001}, "weight"),
        ({"backend": "ollama", "url": "http://h", "holds_gib": -1}, "holds_gib"),
        ({"backend": "vllm", "url": "http://h", "holds_gib": 8}, "holds_gib: a server of backend vllm does not tell"),
        ({"backend": "rehearsal", "holds_gib": 8}, "holds_gib: a server of backend rehearsal does not tell"),
    ],
)
def test_endpoint_that_cannot_work_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        EndpointSettings.model_validate(values)


def test_endpoint_has_settings_of_its_own(tmp_path: Path) -> None:
    text = "[endpoints.{0}]\nbackend = 'rehearsal'\nmax_workers = {1}\nslots = {2}\nweight = {3}\n"

    settings = read(tmp_path, text.format("one", 6, 4, 0.5) + text.format("two", "'auto'", 0, 2)).settings

    found = [(each.max_workers, each.slots, each.weight) for each in settings.endpoints.values()]
    assert found == [(6, 4, 0.5), ("auto", 0, 2)]
    assert EndpointSettings(backend="rehearsal").weight == 1


@pytest.mark.parametrize("keep_alive", ["30m", "2h", "90s", "-1m", "1.5h", "500ms"])
def test_spans_of_keep_alive_are_taken(keep_alive: str) -> None:
    values = {"backend": "ollama", "url": "https://gpu:11434", "keep_alive": keep_alive}

    assert EndpointSettings.model_validate(values).keep_alive == keep_alive


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ({"backend": "ollama", "url": "http://h"}, 1),
        ({"backend": "ollama", "url": "http://h", "holds": 3}, 3),
        ({"backend": "llamacpp", "gguf": {"m": "m.gguf"}}, 1),
        ({"backend": "vllm", "url": "http://h"}, None),
        ({"backend": "rehearsal"}, None),
        ({"backend": "rehearsal", "holds": 1}, 1),
        ({"backend": "ollama", "url": "http://h", "holds_gib": 8}, None),
        ({"backend": "llamacpp", "gguf": {"m": "m.gguf"}, "holds_gib": 8.5}, None),
        ({"backend": "ollama", "url": "http://h", "holds_gib": 8, "holds": 2}, 2),
    ],
)
def test_backend_decides_how_many_it_holds(values: dict[str, Any], holds: int | None) -> None:
    assert EndpointSettings.model_validate(values).holds_at_once() == holds


@pytest.mark.parametrize("name", GENERAL)
def test_written_file_explains_each_key(name: str) -> None:
    lines = settings_text().splitlines()

    place = next(number for number, line in enumerate(lines) if line.startswith(f"#{name} = "))
    assert lines[place - 1] == f"# {Settings.model_fields[name].description}"


@pytest.mark.parametrize("name", EndpointSettings.model_fields)
def test_written_file_explains_keys_of_endpoint(name: str) -> None:
    text = " ".join(re.sub("(?m)^#", "", settings_text()).split())

    assert f" {name}: {EndpointSettings.model_fields[name].description}" in text


def test_written_file_changes_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, settings_text()).settings == Settings()


def test_uncommented_general_keys_are_defaults(tmp_path: Path) -> None:
    text = re.sub(rf"(?m)^#(?=(?:{'|'.join(GENERAL)}) = )", "", settings_text().split("#[endpoints", 1)[0])

    assert sorted(tomllib.loads(text)) == sorted(GENERAL)
    assert read(tmp_path, text).settings == Settings()


def test_uncommented_examples_are_endpoints(tmp_path: Path) -> None:
    examples = settings_text().split("#[endpoints", 1)[1].split("# The keys of an endpoint", 1)[0]
    text = re.sub(r"(?m)^#", "", f"#[endpoints{examples}")

    endpoints = read(tmp_path, text).settings.endpoints

    assert [endpoint.backend for endpoint in endpoints.values()] == ["ollama", "vllm", "llamacpp"]


def test_endpoint_refuses_a_truth_value() -> None:
    with pytest.raises(ValidationError):
        EndpointSettings.model_validate({"backend": "rehearsal", "max_workers": True})
