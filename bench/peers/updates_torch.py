"""Hand-written updates in PyTorch: SAC, VG-SAC, a Sobolev epoch, one policy evaluation.

The code is what a careful user writes: gradients are asked for only where they
are needed, Adam is the fused one, the soft update is one call over all tensors.
The input gradients of VG-SAC and of the Sobolev loss are differentiated again by
automatic differentiation (`create_graph=True`).
"""

import math

import torch
from torch import nn
from torch.nn import functional

GAMMA, TAU, ALPHA, RATE = 0.99, 0.005, 0.2, 3e-4
LOG_STD_RANGE = (-20.0, 2.0)
MEDIAN_DECAY, COEFFICIENT_DECAY, COEFFICIENT_PERIOD = 0.95, 0.3, 20


def perceptron(sizes: list[int], activation: type[nn.Module], dtype: torch.dtype) -> nn.Sequential:
    """Builds fully connected layers with the activation between them."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:])):
        if index > 0:
            layers.append(activation())
        linear = nn.Linear(inputs, outputs, dtype=dtype)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers.append(linear)
    return nn.Sequential(*layers)


class Actor(nn.Module):
    """Squashed Gaussian policy: a ReLU trunk with heads for mean and log deviation."""

    def __init__(self, inputs: int, width: int, low, high, dtype: torch.dtype):
        super().__init__()
        low, high = torch.as_tensor(low, dtype=dtype), torch.as_tensor(high, dtype=dtype)
        self.first = nn.Linear(inputs, width, dtype=dtype)
        self.second = nn.Linear(width, width, dtype=dtype)
        self.mean = nn.Linear(width, len(low), dtype=dtype)
        self.log_std = nn.Linear(width, len(low), dtype=dtype)
        self.scale, self.shift = (high - low) / 2, (high + low) / 2

    def trunk(self, state: torch.Tensor) -> torch.Tensor:
        """Returns the last hidden layer."""
        return torch.relu(self.second(torch.relu(self.first(state))))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """Returns the deterministic action."""
        return self.scale * torch.tanh(self.mean(self.trunk(state))) + self.shift

    def sample(self, state: torch.Tensor, noise: torch.Tensor):
        """Returns the action for prescribed noise and its log-density."""
        hidden = self.trunk(state)
        log_std = self.log_std(hidden).clamp(*LOG_STD_RANGE)
        squashed = torch.tanh(self.mean(hidden) + log_std.exp() * noise)
        normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        density = normal - torch.log(self.scale * (1 - squashed.square()) + 1e-6)
        return self.scale * squashed + self.shift, density.sum(1)


class SoftActorCritic:
    """SAC with a fixed entropy weight; with `value_gradients` it is VG-SAC.

    Terms of the value-gradient losses: a running median per component bounds the
    quadratic part, and coefficients balance the losses by gradient norms in the
    second hidden layer of the first critic, recomputed at every 20th update.
    """

    def __init__(self, actor: Actor, critics, targets, value_gradients: bool):
        self.actor, self.critics, self.targets = actor, critics, targets
        self.value_gradients = value_gradients
        self.actor_parameters = list(actor.parameters())
        self.critic_parameters = list(critics.parameters())
        self.target_parameters = list(targets.parameters())
        for parameter in self.target_parameters:
            parameter.requires_grad_(False)
        self.actor_adam = torch.optim.Adam(self.actor_parameters, lr=RATE, fused=True)
        self.critic_adam = torch.optim.Adam(self.critic_parameters, lr=RATE, fused=True)
        self.updates = 0
        self.medians: dict[str, torch.Tensor] = {}
        self.coefficients: dict[str, torch.Tensor] = {}

    def update(self, batch, noise_next: torch.Tensor, noise_now: torch.Tensor):
        """One critic step, one actor step, one soft target update; returns the losses."""
        state, action = batch["state"], batch["action"]
        critic_loss = self.gradient_loss if self.value_gradients else self.value_loss
        loss = critic_loss(batch, noise_next)
        step(self.critic_adam, loss, self.critic_parameters)

        action, log_density = self.actor.sample(state, noise_now)
        pairs = torch.cat([state, action], 1)
        value = torch.minimum(*(critic(pairs)[:, 0] for critic in self.critics))
        actor_loss = (ALPHA * log_density - value).mean()
        step(self.actor_adam, actor_loss, self.actor_parameters)

        with torch.no_grad():
            torch._foreach_lerp_(self.target_parameters, self.critic_parameters, TAU)
        self.updates += 1
        return loss.detach(), actor_loss.detach()

    def value_loss(self, batch, noise_next: torch.Tensor) -> torch.Tensor:
        """The loss of ordinary SAC: squared errors of both critics."""
        with torch.no_grad():
            next_action, log_density = self.actor.sample(batch["next_state"], noise_next)
            pairs = torch.cat([batch["next_state"], next_action], 1)
            value = torch.minimum(*(critic(pairs)[:, 0] for critic in self.targets))
            target = batch["reward"] + GAMMA * batch["mask"] * (value - ALPHA * log_density)
        pairs = torch.cat([batch["state"], batch["action"]], 1)
        return sum(functional.mse_loss(critic(pairs)[:, 0], target) for critic in self.critics)

    def gradient_loss(self, batch, noise_next: torch.Tensor) -> torch.Tensor:
        """The loss of VG-SAC: values, state gradients and action gradients."""
        mask = batch["mask"]
        size = batch["state"].shape[1]
        with torch.no_grad():
            next_action, log_density = self.actor.sample(batch["next_state"], noise_next)
        # The next action is a constant here: the target's gradient does not pass
        # through the policy.
        next_state = batch["next_state"].detach().requires_grad_()
        pairs = torch.cat([next_state, next_action], 1)
        value = torch.minimum(*(critic(pairs)[:, 0] for critic in self.targets))
        (slope,) = torch.autograd.grad(value.sum(), next_state)
        with torch.no_grad():
            target = batch["reward"] + GAMMA * mask * (value - ALPHA * log_density)
            chained = torch.bmm(slope[:, None, :], batch["jacobian"])[:, 0]
            gradient_target = batch["reward_gradient"] + GAMMA * mask[:, None] * chained

        pairs = torch.cat([batch["state"], batch["action"]], 1).requires_grad_()
        value_loss = state_loss = action_loss = 0.0
        for critic in self.critics:
            value = critic(pairs)[:, 0]
            (slope,) = torch.autograd.grad(value.sum(), pairs, create_graph=True)
            difference = (mask[:, None] * (slope - gradient_target)).abs()
            value_loss = value_loss + functional.mse_loss(value, target)
            state_loss = state_loss + self.robust("state", difference[:, :size])
            action_loss = action_loss + self.robust("action", difference[:, size:])
        if self.updates % COEFFICIENT_PERIOD == 0:
            self.balance(value_loss, {"state": state_loss, "action": action_loss})
        return (
            value_loss
            + 0.5 * self.coefficients["state"] * state_loss
            + 0.5 * self.coefficients["action"] * action_loss
        )

    def robust(self, name: str, difference: torch.Tensor) -> torch.Tensor:
        """Quadratic up to twice the running median of the batch, linear beyond."""
        # torch.median takes the lower of the two middle values, as it should here.
        median = difference.detach().median(0).values
        if name in self.medians:
            median = MEDIAN_DECAY * self.medians[name] + (1 - MEDIAN_DECAY) * median
        self.medians[name] = median
        linear = 4 * median * difference
        return torch.where(difference < 2 * median, difference.square(), linear).mean()

    def balance(self, value_loss: torch.Tensor, losses: dict[str, torch.Tensor]) -> None:
        """Moves the coefficients towards the ratios of the losses' gradient norms."""
        weight = self.critics[0][2].weight
        norms = {}
        for name, loss in [("value", value_loss), *losses.items()]:
            (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
            norms[name] = gradient.norm()
        for name in losses:
            ratio = norms["value"] / norms[name]
            if name in self.coefficients:
                old = self.coefficients[name]
                ratio = COEFFICIENT_DECAY * old + (1 - COEFFICIENT_DECAY) * ratio
            self.coefficients[name] = ratio


def step(optimiser: torch.optim.Optimizer, loss: torch.Tensor, parameters) -> None:
    """One optimiser step that computes the gradients of these parameters only."""
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
        parameter.grad = gradient
    optimiser.step()


def update_case(shapes, batch, value_gradients: bool):
    """Returns a function that makes one update and waits for it."""
    actor = Actor(shapes.state, shapes.actor_width, shapes.low, shapes.high, torch.float32)
    sizes = [shapes.state + shapes.action, shapes.critic_width, shapes.critic_width, 1]
    critics = nn.ModuleList(perceptron(sizes, nn.Tanh, torch.float32) for _ in range(2))
    targets = nn.ModuleList(perceptron(sizes, nn.Tanh, torch.float32) for _ in range(2))
    targets.load_state_dict(critics.state_dict())
    learner = SoftActorCritic(actor, critics, targets, value_gradients)
    tensors = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in batch.items()}

    def call():
        noise = torch.randn(2, shapes.batch, shapes.action)
        return learner.update(tensors, noise[0], noise[1])

    return call


def sobolev_case(states, values, slopes):
    """Returns a function that trains V = |residuals|^2 on values and gradients for one epoch."""
    network = perceptron([states.shape[1], 64, 64, 64, 3], nn.Tanh, torch.float64)
    parameters = list(network.parameters())
    adam = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    states = torch.as_tensor(states, dtype=torch.float64).requires_grad_()
    values = torch.as_tensor(values, dtype=torch.float64)
    slopes = torch.as_tensor(slopes, dtype=torch.float64)

    def call():
        value = network(states).square().sum(1)
        (slope,) = torch.autograd.grad(value.sum(), states, create_graph=True)
        gradient_loss = (slope - slopes).square().sum(1).mean()
        loss = functional.mse_loss(value, values) + gradient_loss
        step(adam, loss, parameters)
        return loss.detach()

    return call


def policy_case(shapes):
    """Returns a function that evaluates the deterministic policy at one state."""
    actor = Actor(shapes.state, shapes.actor_width, shapes.low, shapes.high, torch.float32)
    state = torch.randn(1, shapes.state)

    def call():
        with torch.inference_mode():
            return actor(state)

    return call
