"""Checks both hand-written VG-SAC updates against recorded ones, in f64.

The file prescribes networks, a batch and noise, and records the losses, running
medians, coefficients and parameters after each of three updates. A peer that
computed something else would be no peer.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import updates_jax
import updates_torch
from updates_jax import jax, jnp

TOLERANCE = 1e-10
CRITIC_LAYERS = (("linear1", "linear2", "linear3"), ("linear4", "linear5", "linear6"))
ACTOR_LAYERS = ("linear1", "linear2", "mean_linear", "log_std_linear")


def layer(record, name: str):
    """Returns weight (outputs, inputs) and bias of one layer."""
    return np.array(record[f"{name}.weight"]), np.array(record[f"{name}.bias"])


class Torch:
    """The PyTorch learner with the recorded networks."""

    def __init__(self, data):
        sizes = data["dims"]
        widths = [sizes["state"] + sizes["action"], sizes["hidden_q"], sizes["hidden_q"], 1]
        low, high = data["action_low"], data["action_high"]
        actor = updates_torch.Actor(sizes["state"], sizes["hidden_pi"], low, high, torch.float64)
        modules = (actor.first, actor.second, actor.mean, actor.log_std)
        for module, name in zip(modules, ACTOR_LAYERS):
            self.fill(module, *layer(data["init"]["policy"], name))
        twins = []
        for record in (data["init"]["critic"], data["init"]["critic_target"]):
            pair = nn.ModuleList()
            for names in CRITIC_LAYERS:
                critic = updates_torch.perceptron(widths, nn.Tanh, torch.float64)
                for module, name in zip(critic[::2], names):
                    self.fill(module, *layer(record, name))
                pair.append(critic)
            twins.append(pair)
        self.learner = updates_torch.SoftActorCritic(actor, *twins, value_gradients=True)
        self.batch = {name: torch.tensor(value) for name, value in arrays(data["batch"]).items()}

    @staticmethod
    def fill(module: nn.Linear, weight, bias) -> None:
        """Copies weight and bias."""
        with torch.no_grad():
            module.weight.copy_(torch.tensor(weight))
            module.bias.copy_(torch.tensor(bias))

    def update(self, index: int, noise_next, noise_now):
        """Makes the update of this index; returns what the record holds."""
        self.learner.updates = index
        losses = self.learner.update(
            self.batch, torch.tensor(noise_next), torch.tensor(noise_now)
        )
        parts = {
            "losses": [float(value) for value in losses],
            "medians": [self.learner.medians[name].numpy() for name in ("state", "action")],
            "coefficients": [float(self.learner.coefficients[n]) for n in ("state", "action")],
        }
        for name, twins in (("critic", self.learner.critics), ("target", self.learner.targets)):
            parts[name] = [p.detach().numpy() for twin in twins for p in twin.parameters()]
        parts["policy"] = [p.detach().numpy() for p in self.learner.actor.parameters()]
        return parts


class Jax:
    """The JAX learner with the recorded networks."""

    def __init__(self, data):
        sizes = data["dims"]
        layers = [self.layer(data["init"]["policy"], name) for name in ACTOR_LAYERS]
        actor = {"trunk": layers[:2], "mean": layers[2:3], "log_std": layers[3:]}
        twins = [
            [[self.layer(record, name) for name in names] for names in CRITIC_LAYERS]
            for record in (data["init"]["critic"], data["init"]["critic_target"])
        ]
        self.learner = updates_jax.start(
            actor, *twins, sizes["state"], sizes["action"], jnp.float64
        )
        low, high = np.array(data["action_low"]), np.array(data["action_high"])
        self.limits = ((high - low) / 2, (high + low) / 2)
        self.batch = {name: jnp.asarray(value) for name, value in arrays(data["batch"]).items()}

    @staticmethod
    def layer(record, name: str):
        """Returns weight (inputs, outputs) and bias."""
        weight, bias = layer(record, name)
        return jnp.asarray(weight.T), jnp.asarray(bias)

    def update(self, index: int, noise_next, noise_now):
        """Makes the update of this index; returns what the record holds."""
        balance = index % updates_jax.COEFFICIENT_PERIOD == 0
        run = jax.jit(updates_jax.update, static_argnums=(5, 6))
        self.learner, losses = run(
            self.learner, self.batch, noise_next, noise_now, self.limits, True, balance
        )
        state = self.learner
        parts = {
            "losses": [float(value) for value in losses],
            "medians": [state["medians"][name] for name in ("state", "action")],
            "coefficients": [float(state["coefficients"][n]) for n in ("state", "action")],
        }
        for name, twins in (("critic", state["critics"]), ("target", state["targets"])):
            parts[name] = self.flat([layers for twin in twins for layers in twin])
        actor = state["actor"]
        parts["policy"] = self.flat(actor["trunk"] + actor["mean"] + actor["log_std"])
        return parts

    @staticmethod
    def flat(layers):
        """Lists weights (outputs, inputs) and biases in the record's order."""
        return [part for weight, bias in layers for part in (np.array(weight).T, np.array(bias))]


def arrays(batch):
    """Renames the batch's columns to those of the scripts."""
    names = {"jac": "jacobian", "reward_grad": "reward_gradient"}
    return {names.get(name, name): np.array(value) for name, value in batch.items()}


def recorded(update):
    """Arranges one recorded update like the learners' results."""
    after = update["after"]
    pairs = [name for names in CRITIC_LAYERS for name in names]
    return {
        "losses": [update["critic_loss"], update["policy_loss"]],
        "medians": [update[f"running_median_{name}"][0] for name in ("state", "action")],
        "coefficients": [update["coeff_state"], update["coeff_action"]],
        "critic": [part for name in pairs for part in layer(after["critic"], name)],
        "target": [part for name in pairs for part in layer(after["critic_target"], name)],
        "policy": [part for name in ACTOR_LAYERS for part in layer(after["policy"], name)],
    }


def main() -> None:
    """Compares every recorded quantity and exits with 1 if one differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="the recorded updates (vgsac_update.json)")
    data = json.loads(parser.parse_args().file.read_text())
    failed = False
    for peer in (Torch(data), Jax(data)):
        for update in data["updates"]:
            index = update["update_index"]
            found = peer.update(index, np.array(update["eps_next"]), np.array(update["eps_pi"]))
            for name, expected in recorded(update).items():
                error = max(np.abs(np.asarray(a) - b).max() for a, b in zip(found[name], expected))
                failed |= not error <= TOLERANCE
                print(f"{type(peer).__name__:6} update {index:2} {name:12} error {error:.1e}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
