"""Help, presets, and how options become a configuration."""

import json

import numpy as np
import pytest

from experiments.agents.build import build, initial_rates, learner_key, run_keys
from experiments.configs import presets
from experiments.configs.config import Config
from experiments.configs.experiment_kinds import stored
from experiments.configs.values import from_dict, learned_settings, to_dict
from experiments.run import main, parse


def test_help_and_list_name_defaults_costs_and_results(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["train", "digits", "--help"]) == 0
    shown = capsys.readouterr().out
    for text in ("--learner.num_updates INT", "Trainings per update", "(default: 1e-05 3.0)"):
        assert text in shown
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for name in presets.PRESETS:
        assert f"{name} (--scale" in shown
    assert shown.count("Cost:") == shown.count("Expected result:") == len(presets.PRESETS)
    assert main(["--help"]) == 0


@pytest.mark.parametrize(
    "words, shown",
    [
        ("evaluate digits", "--evaluate.num_runs INT"),
        ("plot broad", "--broad.num_updates INT"),
        ("train step_size_digits", "--step_size.num_samples INT"),
        ("train search_digits", "--search.budget INT"),
        ("evaluate muon --suite unseen", "--suite.num_seeds INT"),
        ("plot some/file.controller --suite development", "--suite.data_dir"),
    ],
)
def test_every_command_has_a_help_of_its_own(words, shown, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for flag in ("-h", "--help"):
        assert main([*words.split(), flag]) == 0
        said = capsys.readouterr()
        command, name = words.split()[:2]
        usage = f"{command} {'CONTROLLER' if '--suite' in words else name}"
        assert usage in said.out.splitlines()[0]
        assert shown in said.out
        assert "(default: " in said.out
        assert said.err == ""


@pytest.mark.parametrize("scale", ["small", "paper"])
@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_survive_the_way_through_json(name, scale):
    config = presets.named(name)(scale)
    assert (config.preset, config.scale) == (name, scale)
    assert stored(json.loads(json.dumps(to_dict(config)))) == config


def test_a_preset_alone_is_enough():
    assert parse("train", ["digits"]) == presets.named("digits")("small")


def test_options_reach_the_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # away from runs that are there already
    words = "digits --scale paper --network.features 16 8 --task.width 0.5 1 --resume"
    config = parse("train", words.split())
    assert config is not None
    assert config.network.features == (16, 8)
    assert config.task.width == (0.5, 1.0)
    assert config.run.resume
    assert config.learner == presets.digits("paper").learner


def test_what_is_only_about_running_may_change_on_resumption():
    ours = presets.digits()
    words = "digits --data.dir x --run.name y --evaluate.num_runs 8"
    moved = parse("train", words.split())
    assert moved is not None
    assert learned_settings(moved) == learned_settings(ours)
    with pytest.raises(ValueError, match=r"no setting learner\.foo"):
        from_dict({"learner": {"foo": 1}})


def test_the_digits_preset_meets_the_task_that_was_set():
    experiment = build(presets.digits())
    env = experiment.env
    assert env.training.layers.sizes == (65 * 32, 33 * 10)
    assert env.total_steps >= 600
    assert env.training.optimizer.name == "muon"
    family = env.training.family  # members differ in what no schedule can know
    assert None not in (family.label_noise, family.data_fraction, family.weight_scale)
    assert presets.digits().optimizer.initial_rate == (1e-5, 3.0)
    assert presets.digits().evaluate.num_runs >= 256
    assert len(presets.digits().evaluate.peaks) >= 7


def test_crops_and_flips_are_asked_for_by_flags():
    assert build(presets.digits()).env.training.family.augmentation is None
    config = parse("train", ["digits", "--task.crop_padding", "2", "--task.flip"])
    augmentation = build(config).env.training.family.augmentation
    assert (augmentation.padding, augmentation.flip) == (2, True)


def test_training_tuning_and_report_share_no_random_numbers():
    import jax

    config = Config()
    keys = [
        learner_key(config)[None],
        learner_key(config, blind=True)[None],
        run_keys(config, 50, report=False),
        run_keys(config, 50, report=True),
    ]
    data = np.concatenate([np.asarray(jax.random.key_data(k)) for k in keys])
    assert len(np.unique(data, axis=0)) == len(data)
    # A smaller number of runs is the beginning of a larger one.
    assert (run_keys(config, 50, report=True)[:8] == run_keys(config, 8, report=True)).all()


def test_initial_rates_cover_the_range_evenly():
    rates = initial_rates(Config(), 11)
    steps = np.diff(np.log(rates))
    assert np.allclose(steps, np.log(3e5) / 11, rtol=1e-4)
    assert rates[5] == pytest.approx(np.sqrt(1e-5 * 3), rel=1e-4)
