"""Layers, provenance and refusals of the configuration."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import RetrainConfig, recipe_hash
from models.errors import ConfigError
from models.settings import DEFAULT, load_settings, shipped


@pytest.fixture
def write(tmp_path):
    def to_file(text: str) -> str:
        path = tmp_path / "night.yaml"
        path.write_text(text)
        return str(path)

    return to_file


def refusal(*args, **kwargs) -> str:
    with pytest.raises(ConfigError) as refused:
        load_settings(*args, **kwargs)
    return str(refused.value)


def test_without_any_layer_the_defaults_hold():
    settings = load_settings()
    assert settings.config == RetrainConfig()
    assert set(settings.origins.values()) == {DEFAULT}


def test_later_layers_win_and_each_value_names_its_own(write):
    file = write("training:\n  seed: 2\n  members: 2\n  patience: 4\n")
    environment = {"NOCTURNE_TRAINING__SEED": "3", "NOCTURNE_TRAINING__MEMBERS": "5"}
    settings = load_settings(file, ["training.seed=4"], environment)
    assert (settings.config.training.seed, settings.config.training.members) == (4, 5)
    assert settings.config.training.patience == 4
    assert settings.origins["training.seed"] == "--set"
    assert settings.origins["training.members"] == "NOCTURNE_TRAINING__MEMBERS"
    assert settings.origins["training.patience"] == f"{file}, line 4"


def test_the_users_file_wins_over_the_file_below_it(write):
    settings = load_settings(write("network:\n  window: 42\n"), base=shipped("demo.yaml"))
    assert settings.config.network.window == 42
    assert settings.config.network.spans == (1, 3, 8, 21)


def test_nocturne_home_is_shown_as_it_stands_and_left_to_the_environment_of_whoever_runs():
    settings = load_settings(environment={"NOCTURNE_HOME": "s3://bucket/nocturne: 1"})
    assert settings.effective.storage.home == "s3://bucket/nocturne: 1"
    assert settings.config.storage.home is None


def test_the_environment_wins_over_the_file_for_storage_too_and_the_command_line_over_both(write):
    file, environment = write("storage:\n  home: /from/file\n"), {"NOCTURNE_HOME": "/from/environment"}
    assert load_settings(file).config.storage.home == "/from/file"
    assert load_settings(file, environment=environment).config.storage.home is None
    assert load_settings(file, ["storage.home=/set"], environment).config.storage.home == "/set"


def test_an_address_with_a_password_belongs_into_the_environment_and_is_never_shown():
    address = "postgresql://desk:open-sesame@db/mlflow"
    message = refusal(assignments=[f"storage.tracking_uri={address}"])
    assert "NOCTURNE_STORAGE__TRACKING_URI" in message
    settings = load_settings(environment={"NOCTURNE_STORAGE__TRACKING_URI": address})
    assert "open-sesame" not in message + repr(settings)
    assert settings.effective.storage.tracking_uri == "postgresql://db/mlflow"


def test_a_file_may_lie_at_a_uri(write):
    file = write("gate:\n  policy: manual\n")
    assert load_settings(f"file://{file}").config.gate.policy == "manual"


def test_an_empty_file_changes_nothing(write):
    assert load_settings(write("# nothing yet\n")).config == RetrainConfig()


def test_one_head_can_be_set_without_the_other():
    settings = load_settings(assignments=["targets.headroom.volatility=2"])
    assert settings.config.targets.headroom.volatility == 2
    assert settings.config.targets.headroom.magnitude == RetrainConfig().targets.headroom.magnitude


def test_a_section_can_be_switched_off_and_its_origin_is_kept():
    settings = load_settings(assignments=["training.gradient_shares=null"])
    assert settings.config.training.gradient_shares is None
    assert settings.origins["training.gradient_shares"] == "--set"


def test_a_format_that_yaml_reserves_is_taken_as_text():
    settings = load_settings(assignments=["source.timestamp_format=%Y%m%d"])
    assert settings.config.source.timestamp_format == "%Y%m%d"


def test_lists_and_small_numbers_are_read_as_yaml():
    settings = load_settings(assignments=["network.heads=[direction]", "training.learning_rate=1e-4"])
    assert settings.config.network.heads == ("direction",)
    assert settings.config.training.learning_rate == 1e-4


def test_a_refused_value_names_field_value_range_and_origin():
    message = refusal(environment={"NOCTURNE_TARGETS__HORIZON_SESSIONS": "1"})
    assert "targets.horizon_sessions = 1 (from NOCTURNE_TARGETS__HORIZON_SESSIONS)" in message
    assert "a whole number ≥ 2 and ≤ 60" in message


def test_all_wrong_settings_are_told_at_once(write):
    message = refusal(write("gate:\n  policy: sometimes\n"), ["training.members=0", "network.dropout=2"])
    assert "3 settings are wrong" in message
    assert "non_inferior or always_if_healthy or manual" in message
    assert "line 2" in message


def test_an_unknown_key_names_the_nearest_known_one():
    assert "Did you mean gate.fresh_sessions?" in refusal(assignments=["gate.fresh_sesions=3"])


def test_a_key_without_its_section_names_the_full_one():
    assert "Did you mean training.seed?" in refusal(assignments=["seed=3"])


def test_a_misspelt_variable_is_refused():
    assert "NOCTURNE_GATE_FRESH_SESSIONS" in refusal(environment={"NOCTURNE_GATE_FRESH_SESSIONS": "3"})


def test_a_rule_over_several_settings_names_who_set_them():
    message = refusal(assignments=["network.window=8"])
    assert "the longest span 64 exceeds 4" in message
    assert "--set" in message


def test_evidence_that_holds_no_two_blocks_of_long_horizons_is_refused():
    message = refusal(assignments=["gate.evidence_sessions=80", "targets.horizon_sessions=20"])
    assert "without two blocks of sessions whose labels do not overlap, 81 in all" in message
    load_settings(assignments=["gate.evidence_sessions=81", "targets.horizon_sessions=20"])


def test_a_key_that_is_set_twice_in_a_file_is_refused_with_both_lines(write):
    assert "lines 2 and 3" in refusal(write("gate:\n  policy: manual\n  policy: manual\n"))


@pytest.mark.parametrize("text", ["gate: [", "- a list", "just text", "gate: !!python/object:os.system {}"])
def test_a_file_that_holds_no_plain_mapping_is_refused(write, text):
    assert "night.yaml" in refusal(write(text))


@pytest.mark.parametrize(("text", "said"), [("gate: &a {policy: *a}", "a part of itself"), ("? [1, 2]\n: 3", "line 1")])
def test_yaml_that_no_setting_can_be_is_refused_and_says_why(write, text, said):
    assert said in refusal(write(text))


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("data.exchange=XNYX", "XNYS, XLON or XTKS"),
        ("source.timestamp_format=%Q", "no strptime format"),
        ("source.columns.tiestamp=Date", "Did you mean source.columns.timestamp?"),
        ("contract.levels.ohlc_ordr=warn", "Did you mean contract.levels.ohlc_order?"),
        ("contract.levels.completeness=quarantine", "Allowed: stop or wait or warn"),
        ("contract.levels.missing_value=warn", "Allowed: stop or quarantine"),
        ("contract.levels.not_finite=warn", "Allowed: stop or quarantine"),
        ("contract.levels.nonpositive_price=wait", "Allowed: stop or quarantine or warn"),
        ("gate.evidence_sessions=30", "less than gate.min_evidence_sessions = 40"),
        ("gate.evidence_sessions=50", "less than gate.min_different_recipe_sessions = 60"),
    ],
)
def test_what_only_a_later_stage_would_use_is_refused_at_once(assignment, said):
    message = refusal(assignments=[assignment])
    assert said in message
    assert "(from --set)" in message


@pytest.mark.parametrize("exchange", ["24/7", "XTKS", "NYSE"])
def test_any_calendar_of_the_library_may_be_named(exchange):
    assert load_settings(assignments=[f"data.exchange={exchange}"]).config.data.exchange == exchange


def test_a_missing_file_is_named(tmp_path):
    assert "absent.yaml" in refusal(str(tmp_path / "absent.yaml"))


def test_a_truth_value_is_no_number():
    assert "training.seed = True" in refusal(assignments=["training.seed=yes"])


def test_an_assignment_without_a_value_shows_the_form():
    assert "--set section.key=value" in refusal(assignments=["training.seed"])


@settings(deadline=None)
@given(st.sampled_from(sorted(key for key, origin in load_settings().origins.items() if "." in key)))
def test_no_number_of_the_configuration_accepts_nan(key):
    if isinstance(load_settings().value(key), float):
        assert "nan" in refusal(assignments=[f"{key}=.nan"])


def test_the_demo_maps_the_panels_columns_and_relaxes_the_span_rule_by_name():
    config = load_settings(base=shipped("demo.yaml")).config
    assert config.source.columns.timestamp == "Date"
    assert config.network.allow_long_spans
    assert config.gate.first_champion == "healthy"


def test_the_origin_fixes_both_scales_and_leaves_the_heads_unbalanced():
    config = load_settings(shipped("origin.yaml")).config
    assert config.targets.scale_rule == "fixed"
    assert (config.targets.fixed_scales.volatility, config.targets.fixed_scales.magnitude) == (0.15, 0.6)
    assert (config.training.losses.volatility, config.training.losses.magnitude) == ("mse", "huber")
    assert config.training.gradient_shares is None


@pytest.mark.parametrize("setting", ["data.universe.file", "source.sectors"])
def test_the_address_of_a_list_holds_no_password(setting):
    with pytest.raises(ConfigError, match=f"{setting} holds a password"):
        load_settings(assignments=[f"{setting}=https://me:hunter2@host/members.csv"])


@pytest.mark.parametrize(
    ("section", "setting", "value", "same"),
    [
        ("targets", "drift_ratio", 3.0, True),
        ("training", "require_gpu", True, True),
        ("training", "seed", 5, True),
        ("data", "cutoff_hours", 2.0, True),
        ("training", "learning_rate", 1e-3, False),
        ("targets", "horizon_sessions", 6, False),
    ],
)
def test_a_recipe_is_another_where_its_models_are(section, setting, value, same):
    changed = RetrainConfig.model_validate({section: {setting: value}})
    assert (recipe_hash(changed, "code") == recipe_hash(RetrainConfig(), "code")) is same


def test_symbols_in_a_file_are_what_is_written(tmp_path):
    """YAML would read ON as true and 0700 as 448."""
    path = tmp_path / "ours.yaml"
    path.write_text(
        "data:\n  renames: {ON: [2009-08-05], 0700: [2014-05-15]}\n  splits: {TRUE: {2010-06-14: 2}}\n"
        "operation: {must_finish_by: 16:30}\n"
    )
    config = load_settings(str(path)).config
    assert sorted(config.data.renames) == ["0700", "ON"]
    assert list(config.data.splits) == ["TRUE"]
    assert config.operation.must_finish_by == "16:30"


def test_a_symbol_in_the_environment_keeps_its_case():
    settings_made = load_settings(environment={"NOCTURNE_DATA__RENAMES__WM": "[2009-08-05]"})
    assert list(settings_made.config.data.renames) == ["WM"]


def test_a_day_that_does_not_exist_is_a_text():
    assert load_settings(assignments=["data.universe.file=2024-02-30"]).config.data.universe.file == "2024-02-30"
