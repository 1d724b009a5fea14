"""Hand-written updates in JAX: the same as in `updates_torch.py`, each one jitted call.

Parameters and optimiser moments are donated to the call, so that XLA may update
them in place. The periodic recomputation of the VG-SAC coefficients is a second
compiled function, called at every 20th update.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from updates_torch import (
    ALPHA,
    COEFFICIENT_DECAY,
    COEFFICIENT_PERIOD,
    GAMMA,
    LOG_STD_RANGE,
    MEDIAN_DECAY,
    RATE,
    TAU,
)

# The Sobolev case needs f64; everything else states its own type.
jax.config.update("jax_enable_x64", True)


def perceptron(sizes: list[int], rng: np.random.Generator, dtype):
    """Draws the weights and biases of fully connected layers."""
    layers = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:]):
        bound = math.sqrt(6 / (inputs + outputs))
        weight = rng.uniform(-bound, bound, (inputs, outputs))
        layers.append((jnp.asarray(weight, dtype), jnp.zeros(outputs, dtype)))
    return layers


def forward(layers, inputs, activation):
    """Applies fully connected layers with the activation between them."""
    for weight, bias in layers[:-1]:
        inputs = activation(inputs @ weight + bias)
    weight, bias = layers[-1]
    return inputs @ weight + bias


def critic(layers, pairs):
    """Returns the value of each row."""
    return forward(layers, pairs, jnp.tanh)[:, 0]


def policy(actor, state, scale, shift):
    """Returns the deterministic action."""
    hidden = jax.nn.relu(forward(actor["trunk"], state, jax.nn.relu))
    return scale * jnp.tanh(forward(actor["mean"], hidden, None)) + shift


def sample(actor, state, noise, scale, shift):
    """Returns the action for prescribed noise and its log-density."""
    hidden = jax.nn.relu(forward(actor["trunk"], state, jax.nn.relu))
    log_std = jnp.clip(forward(actor["log_std"], hidden, None), *LOG_STD_RANGE)
    squashed = jnp.tanh(forward(actor["mean"], hidden, None) + jnp.exp(log_std) * noise)
    normal = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
    density = normal - jnp.log(scale * (1 - squashed**2) + 1e-6)
    return scale * squashed + shift, density.sum(1)


def adam_start(parameters):
    """Returns zero moments and a step count."""
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    return {"first": zeros, "second": jax.tree.map(jnp.zeros_like, parameters), "count": 0}


def adam(parameters, gradients, state, rate):
    """One Adam step with the usual constants."""
    count = state["count"] + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["first"], gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state["second"], gradients)

    def move(parameter, m, v):
        power = jnp.asarray(count, parameter.dtype)
        scaled = jnp.sqrt(v / (1 - 0.999**power)) + 1e-8
        return parameter - rate * (m / (1 - 0.9**power)) / scaled

    moved = jax.tree.map(move, parameters, first, second)
    return moved, {"first": first, "second": second, "count": count}


def start(actor, critics, targets, state_size: int, action_size: int, dtype):
    """Assembles the learner's state."""
    return {
        "actor": actor,
        "critics": critics,
        "targets": targets,
        "actor_adam": adam_start(actor),
        "critic_adam": adam_start(critics),
        # Not a number until the first update has set them.
        "medians": {
            "state": jnp.full(state_size, jnp.nan, dtype),
            "action": jnp.full(action_size, jnp.nan, dtype),
        },
        "coefficients": {
            "state": jnp.asarray(jnp.nan, dtype),
            "action": jnp.asarray(jnp.nan, dtype),
        },
    }


def smooth(old, new, keep: float):
    """Exponential average that starts with its first value."""
    return jnp.where(jnp.isnan(old), new, keep * old + (1 - keep) * new)


def update(learner, batch, noise_next, noise_now, limits, value_gradients: bool, balance: bool):
    """One critic step, one actor step, one soft target update."""
    scale, shift = limits
    state, next_state, mask = batch["state"], batch["next_state"], batch["mask"]
    pairs = jnp.concatenate([state, batch["action"]], 1)
    next_action, next_density = sample(learner["actor"], next_state, noise_next, scale, shift)

    def target_value(next_state):
        pairs = jnp.concatenate([next_state, next_action], 1)
        return jnp.minimum(*(critic(layers, pairs) for layers in learner["targets"]))

    if value_gradients:
        next_value, pull = jax.vjp(target_value, next_state)
        (slope,) = pull(jnp.ones_like(next_value))
        chained = jnp.einsum("bi,bij->bj", slope, batch["jacobian"])
        gradient_target = batch["reward_gradient"] + GAMMA * mask[:, None] * chained
    else:
        next_value = target_value(next_state)
    target = batch["reward"] + GAMMA * mask * (next_value - ALPHA * next_density)

    def losses(critics):
        """The value loss and, for VG-SAC, those on state and action gradients."""
        medians = dict(learner["medians"])
        total = {"value": 0.0}
        if value_gradients:
            total |= {"state": 0.0, "action": 0.0}
        for layers in critics:
            if not value_gradients:
                total["value"] += jnp.mean((critic(layers, pairs) - target) ** 2)
                continue
            value, pull = jax.vjp(functools.partial(critic, layers), pairs)
            (slope,) = pull(jnp.ones_like(value))
            total["value"] += jnp.mean((value - target) ** 2)
            difference = jnp.abs(mask[:, None] * (slope - gradient_target))
            parts = jnp.split(difference, [state.shape[1]], 1)
            for name, part in zip(("state", "action"), parts):
                middle = jnp.sort(jax.lax.stop_gradient(part), 0)[(len(part) - 1) // 2]
                median = smooth(medians[name], middle, MEDIAN_DECAY)
                medians[name] = median
                robust = jnp.where(part < 2 * median, part**2, 4 * median * part)
                total[name] += robust.mean()
        return total, medians

    coefficients = learner["coefficients"]
    if value_gradients and balance:
        first, second = learner["critics"]

        def of_weight(weight):
            layers = [first[0], (weight, first[1][1]), first[2]]
            return losses([layers, second])[0]

        _, pull = jax.vjp(of_weight, first[1][0])
        zero = {name: jnp.zeros_like(target[0]) for name in ("value", "state", "action")}
        norms = {
            name: jnp.linalg.norm(pull(zero | {name: jnp.ones_like(target[0])})[0])
            for name in zero
        }
        coefficients = {
            name: smooth(old, norms["value"] / norms[name], COEFFICIENT_DECAY)
            for name, old in coefficients.items()
        }

    def critic_loss(critics):
        total, medians = losses(critics)
        loss = total["value"]
        if value_gradients:
            for name, coefficient in coefficients.items():
                loss += 0.5 * coefficient * total[name]
        return loss, medians

    (loss, medians), gradients = jax.value_and_grad(critic_loss, has_aux=True)(learner["critics"])
    critics, critic_adam = adam(learner["critics"], gradients, learner["critic_adam"], RATE)

    def actor_loss(actor):
        action, density = sample(actor, state, noise_now, scale, shift)
        pairs = jnp.concatenate([state, action], 1)
        value = jnp.minimum(*(critic(layers, pairs) for layers in critics))
        return jnp.mean(ALPHA * density - value)

    policy_loss, gradients = jax.value_and_grad(actor_loss)(learner["actor"])
    actor, actor_adam = adam(learner["actor"], gradients, learner["actor_adam"], RATE)
    targets = jax.tree.map(lambda old, new: old + TAU * (new - old), learner["targets"], critics)
    learner = {
        "actor": actor,
        "critics": critics,
        "targets": targets,
        "actor_adam": actor_adam,
        "critic_adam": critic_adam,
        "medians": medians,
        "coefficients": coefficients,
    }
    return learner, (loss, policy_loss)


def update_case(shapes, batch, value_gradients: bool):
    """Returns a function that makes one update and waits for it."""
    dtype = jnp.float32
    rng = np.random.default_rng(0)
    width = shapes.actor_width
    actor = {
        "trunk": perceptron([shapes.state, width, width], rng, dtype),
        "mean": perceptron([width, shapes.action], rng, dtype),
        "log_std": perceptron([width, shapes.action], rng, dtype),
    }
    sizes = [shapes.state + shapes.action, shapes.critic_width, shapes.critic_width, 1]
    critics = [perceptron(sizes, rng, dtype) for _ in range(2)]
    targets = jax.tree.map(jnp.copy, critics)
    learner = start(actor, critics, targets, shapes.state, shapes.action, dtype)
    learner = jax.tree.map(jnp.asarray, learner)
    arrays = {name: jnp.asarray(value, dtype) for name, value in batch.items()}
    low, high = np.asarray(shapes.low, np.float32), np.asarray(shapes.high, np.float32)
    limits = ((high - low) / 2, (high + low) / 2)

    @functools.partial(jax.jit, donate_argnums=(0, 2), static_argnums=3)
    def run(learner, batch, key, balance):
        key, draw = jax.random.split(key)
        noise = jax.random.normal(draw, (2, shapes.batch, shapes.action), dtype)
        learner, losses = update(
            learner, batch, noise[0], noise[1], limits, value_gradients, balance
        )
        return learner, key, losses

    held = {"learner": learner, "key": jax.random.key(0), "updates": 0}

    def call():
        balance = value_gradients and held["updates"] % COEFFICIENT_PERIOD == 0
        learner, key, losses = run(held["learner"], arrays, held["key"], balance)
        held.update(learner=learner, key=key, updates=held["updates"] + 1)
        return jax.block_until_ready(losses)

    return call


def sobolev_case(states, values, slopes):
    """Returns a function that trains V = |residuals|^2 on values and gradients for one epoch."""
    dtype = jnp.float64
    sizes = [states.shape[1], 64, 64, 64, 3]
    network = perceptron(sizes, np.random.default_rng(0), dtype)
    states, values, slopes = (jnp.asarray(array, dtype) for array in (states, values, slopes))

    def value(network, states):
        return jnp.sum(forward(network, states, jnp.tanh) ** 2, 1)

    def loss(network):
        predicted, pull = jax.vjp(functools.partial(value, network), states)
        (slope,) = pull(jnp.ones_like(predicted))
        gradient_loss = jnp.mean(jnp.sum((slope - slopes) ** 2, 1))
        return jnp.mean((predicted - values) ** 2) + gradient_loss

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def run(network, moments):
        result, gradients = jax.value_and_grad(loss)(network)
        network, moments = adam(network, gradients, moments, 1e-3)
        return network, moments, result

    held = [network, jax.tree.map(jnp.asarray, adam_start(network))]

    def call():
        held[0], held[1], result = run(*held)
        return jax.block_until_ready(result)

    return call


def policy_case(shapes):
    """Returns a function that evaluates the deterministic policy at one state."""
    rng = np.random.default_rng(0)
    width = shapes.actor_width
    actor = {
        "trunk": perceptron([shapes.state, width, width], rng, jnp.float32),
        "mean": perceptron([width, shapes.action], rng, jnp.float32),
    }
    low, high = np.asarray(shapes.low, np.float32), np.asarray(shapes.high, np.float32)
    run = jax.jit(lambda actor, state: policy(actor, state, (high - low) / 2, (high + low) / 2))
    state = jnp.asarray(rng.standard_normal((1, shapes.state)), jnp.float32)

    def call():
        return jax.block_until_ready(run(actor, state))

    return call
