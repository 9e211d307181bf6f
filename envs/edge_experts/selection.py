"""Selecting experts under budgets, as Gymnasium environments and their vector twins."""

from __future__ import annotations

from .selection_faces import SelectionFace, SelectionVectorFace


class ExpertSelectEnv(SelectionFace):
    """Experts are added to a selection one by one, within energy and delay budgets.

    ## Description

    Heterogeneous language models run on edge servers. Which of them should run, if all together may use so much energy
    per prompt and no category of prompts may wait longer than its budget? The value of a selection is the mean quality
    when every prompt goes to its best selected expert: an increasing and submodular set function, so the problem is
    discrete monotonic optimisation and the optimum can be certified. (MoE², Jin et al., arXiv 2501.09410: the coarse
    level of its two-level selection; formulas that the paper's public parts do not give are the field's usual ones.)

    ## Example

    >>> import gymnasium
    >>> import edgewise
    >>> env = gymnasium.make("edgewise/ExpertSelect-v0", budgets={"E_max": 1000.0, "tau": (1, 4, 10, 15)})
    >>> obs, info = env.reset(seed=0)
    >>> total = 0.0
    >>> for expert in (0, 1, 10):  # the optimum
    ...     obs, reward, terminated, truncated, info = env.step(expert)
    ...     total += reward
    >>> round(float(total), 6), round(-env.unwrapped.optimum().value, 6), terminated
    (0.75948, 0.75948, True)

    ## Action space

    `Discrete(n + 1)`: add expert i, or n to stop. `info["action_mask"]` and `action_masks()` say which experts are
    neither selected nor too much; adding another one costs 1 and changes nothing.

    ## Observation space

    A float32 Box in named parts, `env.unwrapped.layout`; W is the idle power, size in 10⁹ weights:

    | part | meaning |
    | --- | --- |
    | `experts` | for each expert: quality and delay over budget of every category, energy over budget, W, GB, size |
    | `selected` | 1 for selected experts |
    | `slack` | unused share of the energy, of every category's delay, of every limited memory |
    | `gain` | what each expert would add (only with `reveal_gain=True`) |

    ## Time and duration

    Slotted: every decision lasts 1. `time` counts the decisions.

    ## Rewards and the ratio objective

    The reward is the added value, so the return of an episode is the value f(S) of its selection; `cost` is its
    negative. The goal is the sum over an episode, not a ratio.

    ## Info

    `cost`, `duration`, `time`, `cost_terms` (`quality`, `refused`), `value` (f of the selection so far), `action_mask`;
    with `report_optimum=True` also `f_opt`, the certified optimum of the episode's budgets.

    ## Starting state

    Nothing is selected. Budgets are drawn anew for every episode (log-uniform energy; delays between a strict and a
    lenient vector), or fixed by `budgets`; `reset(options={"budgets": {"E_max": 1000.0, "tau": (1, 4, 10, 15)}})` sets
    those of one episode.

    ## Episode end

    Terminated by stopping, or when no further expert fits. Truncated after `horizon` decisions.

    ## Arguments

    `instance` (`synthetic:SEED`, a file, an `Instance`), `budgets`, `energy_range`, `delay_range`, `energy_model`,
    `reveal_gain`, `report_optimum`, `horizon`.

    ## Known optimum

    `env.unwrapped.optimum()` solves the current budgets exactly (`edgewise.envs.edge_experts.optimum`), at the first
    call.

    ## Version history

    - v0: first version.

    Args:
        instance: ``synthetic:SEED``, the path of an instance, or an `Instance`.
        budgets: the same in every episode: `Budgets` or a dict of its fields; None draws them.
        energy_range: (least, most) J for drawn budgets.
        delay_range: (strict, lenient) seconds of every category for drawn budgets.
        energy_model: ``"all"``: every selected expert runs on every prompt; ``"topk"``: the k costliest ones.
        reveal_gain: show in the observation what every expert would add.
        report_optimum: solve every episode's budgets and report ``info["f_opt"]``.
        horizon: decisions after which an episode is cut off.
        render_mode: must be None.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _once = False


class ExpertSelectVectorEnv(SelectionVectorFace):
    """The vector twin of `ExpertSelectEnv`: lane i with seed s + i equals the scalar environment seeded s + i.

    Args:
        num_envs: number of lanes.
        instance: see `ExpertSelectEnv`.
        budgets: see `ExpertSelectEnv`.
        energy_range: see `ExpertSelectEnv`.
        delay_range: see `ExpertSelectEnv`.
        energy_model: see `ExpertSelectEnv`.
        reveal_gain: see `ExpertSelectEnv`.
        report_optimum: see `ExpertSelectEnv`.
        horizon: see `ExpertSelectEnv`.
        autoreset_mode: an `AutoresetMode` or its name.
        max_episode_steps: must be None: the horizon is a time.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _once = False


class ExpertSelectOnceEnv(SelectionFace):
    """A whole selection of experts is given at once, within energy and delay budgets.

    ## Description

    The one-shot form of `edgewise/ExpertSelect-v0`: an episode is one decision. (MoE², arXiv 2501.09410.)

    ## Action space

    `MultiBinary(n)`: the selection.

    ## Observation space

    As in `edgewise/ExpertSelect-v0`.

    ## Time and duration

    The decision lasts 1.

    ## Rewards and the ratio objective

    The value f(S) if the selection keeps every budget, otherwise minus the sum of its relative excesses. `cost` is the
    negative reward.

    ## Info

    `cost`, `duration`, `time`, `cost_terms` (`quality`, `refused`: the violation), `value`, `action_mask` (out and in
    of every expert, all allowed), with `report_optimum=True` also `f_opt`.

    ## Starting state

    Budgets are drawn anew for every episode, or fixed by `budgets`.

    ## Episode end

    Terminated after the decision.

    ## Arguments

    As of `edgewise/ExpertSelect-v0`.

    ## Known optimum

    `env.unwrapped.optimum()`, as in `edgewise/ExpertSelect-v0`.

    ## Version history

    - v0: first version.

    Args:
        instance: see `ExpertSelectEnv`.
        budgets: see `ExpertSelectEnv`.
        energy_range: see `ExpertSelectEnv`.
        delay_range: see `ExpertSelectEnv`.
        energy_model: see `ExpertSelectEnv`.
        reveal_gain: see `ExpertSelectEnv`.
        report_optimum: see `ExpertSelectEnv`.
        horizon: see `ExpertSelectEnv`.
        render_mode: must be None.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _once = True


class ExpertSelectOnceVectorEnv(SelectionVectorFace):
    """The vector twin of `ExpertSelectOnceEnv`.

    Args:
        num_envs: number of lanes.
        instance: see `ExpertSelectEnv`.
        budgets: see `ExpertSelectEnv`.
        energy_range: see `ExpertSelectEnv`.
        delay_range: see `ExpertSelectEnv`.
        energy_model: see `ExpertSelectEnv`.
        reveal_gain: see `ExpertSelectEnv`.
        report_optimum: see `ExpertSelectEnv`.
        horizon: see `ExpertSelectEnv`.
        autoreset_mode: an `AutoresetMode` or its name.
        max_episode_steps: must be None: the horizon is a time.

    Raises:
        InvalidInputError: an argument is unknown or out of range.
    """

    _once = True
