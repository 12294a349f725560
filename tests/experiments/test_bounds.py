"""Bounds beside the settings, and what is made of settings by name."""

import dataclasses
import re
import typing

import pytest

from experiments.agents.build import learner_settings
from experiments.configs import presets
from experiments.configs.agents import AgentConfig, LearnerConfig, LearnerFlags
from experiments.configs.bounds import Rising, check_bounds
from experiments.configs.broad import BroadConfig, SuiteConfig
from experiments.configs.config import Config, EvaluateConfig
from experiments.configs.rules import MOST_ROWS, RuleSearchConfig
from experiments.configs.step_size import StepSizeConfig
from ganno_jax import rules
from ganno_jax.learners import MAPPOConfig


@pytest.mark.parametrize("scale", ["small", "paper"])
@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_are_within_the_bounds(name, scale):
    config = presets.named(name)(scale)
    groups = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    check_bounds(config)
    for name, group in groups.items():
        if dataclasses.is_dataclass(group):
            check_bounds(group, f"{name}.")


@pytest.mark.parametrize(
    "group, where, said",
    [
        (LearnerConfig(clip=0.0), "learner.", "`learner.clip` must be above 0 and at most 100"),
        (LearnerConfig(num_envs=0), "learner.", "`learner.num_envs` must be at least 1; got 0"),
        (BroadConfig(coupling=2.5), "broad.", "`broad.coupling` must be at least 0 and at most 2"),
        (AgentConfig(alpha=0.0), "agent.", "`agent.alpha` must be above 0 and at most 50; got 0"),
        (StepSizeConfig(rates=()), "step_size.", "`step_size.rates` needs one number or more"),
        (RuleSearchConfig(rates=()), "search.", "`search.rates` must be above 0 and rise"),
        (EvaluateConfig(peaks=(0.1, -1.0)), "evaluate.", r"`evaluate.peaks\[1\]` must be above 0"),
        (
            EvaluateConfig(peaks=(0.3, 0.1)),
            "evaluate.",
            "`evaluate.peaks` must rise .* got 0.3 0.1",
        ),
        (LearnerConfig(num_epochs=1001), "learner.", "at least 1 and at most 1000; got 1001"),
        (Config(seed=-1), "", "`seed` must be from 0 to"),
    ],
)
def test_the_setting_that_is_out_of_its_bounds_is_named(group, where, said):
    with pytest.raises(ValueError, match=said):
        check_bounds(group, where)


@pytest.mark.parametrize(
    "group", [LearnerConfig, BroadConfig, StepSizeConfig, RuleSearchConfig, SuiteConfig]
)
def test_a_number_has_its_bound_beside_it(group):
    elsewhere = {"initial_log_std", "rollout_decisions"}  # which the learner and its env bound
    bounded = {
        name
        for name, hint in typing.get_type_hints(group, include_extras=True).items()
        if any(hasattr(bound, "check") for bound in getattr(hint, "__metadata__", ()))
    }
    numbers = {
        name
        for name, hint in typing.get_type_hints(group).items()
        if re.search(r"\b(int|float)\b", str(hint))
    }
    assert numbers - elsewhere <= bounded


def test_none_is_within_any_bounds_and_a_range_may_be_one_number():
    check_bounds(AgentConfig(alpha=None, peak=None))
    check_bounds(StepSizeConfig(initial_rate=None))
    Rising(above=0.0, highest=1.0).check("share", (1.0, 1.0))
    for pair in ((0.0, 1.0), (0.6, 0.5), (0.5, 1.1)):
        with pytest.raises(ValueError, match="`share` must be a range low to high, above 0"):
            Rising(above=0.0, highest=1.0).check("share", pair)


def test_the_learner_takes_its_settings_by_name():
    asked = LearnerConfig(clip=0.3, num_updates=7, critic_baseline=False)
    made = learner_settings(asked, rollout_decisions=5)
    assert (made.clip, made.num_updates, made.critic_baseline) == (0.3, 7, False)
    assert made.rollout_decisions == 5
    names = {field.name for field in dataclasses.fields(LearnerConfig)}
    assert names == {field.name for field in dataclasses.fields(MAPPOConfig)}
    assert {field.name for field in dataclasses.fields(LearnerFlags)} < names
    of_a_run = {"num_updates", "num_envs", "group_size", "rollout_decisions"}
    for name in names - of_a_run:
        assert getattr(LearnerConfig(), name) == getattr(MAPPOConfig(), name), name
    broad = learner_settings(BroadConfig(noise_fall=1.0), trace_decay=1.0)
    usual = MAPPOConfig()
    assert (broad.noise_fall, broad.trace_decay, broad.num_envs) == (1.0, 1.0, 32)
    assert (broad.clip, broad.num_epochs, broad.discount) == (
        usual.clip,
        usual.num_epochs,
        usual.discount,
    )


def test_a_rule_has_as_many_rows_as_the_language_allows():
    assert MOST_ROWS == rules.MAX_STEPS
