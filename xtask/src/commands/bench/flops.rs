//! Operations that an update needs, counted from the layer sizes.
//!
//! Only the matrix products of layers count; activations, losses, Adam, the soft update and the
//! products with the model's Jacobians are left out, although they take time. A multiply-add is two
//! operations. What an implementation computes beyond the need (an input gradient in the first layer
//! that nobody reads, say) does not count either, so that achieved rates can be compared.

/// Multiply-adds per sample of the passes through one network.
#[derive(Clone, Copy)]
struct Passes {
    /// Σ n_in·n_out over the layers: a forward pass, and as much the gradient in the inputs or a
    /// tangent.
    all: usize,
    /// n_in·n_out of the first layer.
    first: usize,
}

impl Passes {
    fn of(sizes: &[usize]) -> Self {
        let layer = |pair: &[usize]| pair[0] * pair[1];
        Self {
            all: sizes.windows(2).map(layer).sum(),
            first: sizes.windows(2).map(layer).take(1).sum(),
        }
    }

    /// The gradient in the parameters after a forward pass: W̄ of every layer, and the sensitivities
    /// of every layer's inputs but the first's.
    fn parameters(self) -> usize {
        2 * self.all - self.first
    }

    /// A loss on value and input gradient with its gradient in the parameters: forward, input
    /// gradient, tangent, the reverse pass of the values, and W̄ of the tangents, whose sensitivities
    /// are those of the input gradient.
    fn sobolev(self) -> usize {
        3 * self.all + self.parameters() + self.all
    }
}

/// An update of SAC with twin critics, for layer sizes with inputs and outputs:
///
/// - targets: the actor forward at the next state, both target critics forward;
/// - critics: both forward, their parameter gradients;
/// - actor: forward, both critics forward, each sample differentiated by the inputs through the
///   smaller one, the actor's parameter gradient.
pub(super) fn sac_update(actor: &[usize], critic: &[usize], batch: usize) -> f64 {
    let (pi, q) = (Passes::of(actor), Passes::of(critic));
    let targets = pi.all + 2 * q.all;
    let critics = 2 * (q.all + q.parameters());
    operations(targets + critics + actor_step(pi, q), batch)
}

/// An update of VG-SAC: as [`sac_update`], with the smaller target critic's input gradient and losses on
/// the input gradients of both critics. The recomputation of the losses' weights at every 20th
/// update is left out.
pub(super) fn vg_sac_update(actor: &[usize], critic: &[usize], batch: usize) -> f64 {
    let (pi, q) = (Passes::of(actor), Passes::of(critic));
    let targets = pi.all + 2 * q.all + q.all;
    let critics = 2 * q.sobolev();
    operations(targets + critics + actor_step(pi, q), batch)
}

/// An epoch of full-batch training on values and input gradients.
pub(super) fn sobolev_epoch(sizes: &[usize], samples: usize) -> f64 {
    operations(Passes::of(sizes).sobolev(), samples)
}

fn actor_step(pi: Passes, q: Passes) -> usize {
    pi.all + 2 * q.all + q.all + pi.parameters()
}

fn operations(multiply_adds: usize, batch: usize) -> f64 {
    2.0 * multiply_adds as f64 * batch as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_equal_those_by_hand() {
        // Actor 3-5-2: 15 + 10 = 25 a pass, parameters 25 + 10 = 35.
        // Critic 4-7-1: 28 + 7 = 35 a pass, parameters 35 + 7 = 42.
        let (actor, critic) = ([3, 5, 2], [4, 7, 1]);
        let hand = 25 + 2 * 35 // targets
            + 2 * (35 + 42) // critics
            + 25 + 2 * 35 + 35 + 35; // actor
        assert_eq!(sac_update(&actor, &critic, 10), 20.0 * f64::from(hand));
        // Input gradient of one target; input gradient, tangent and W̄ of the tangents of both critics.
        let hand = hand + 35 + 2 * (35 + 35 + 35);
        assert_eq!(vg_sac_update(&actor, &critic, 10), 20.0 * f64::from(hand));
        assert_eq!(sobolev_epoch(&critic, 1), 2.0 * (3.0 * 35.0 + 42.0 + 35.0));
    }

    #[test]
    fn the_measured_update_needs_1_6_gflop() {
        let found = sac_update(&[6, 256, 256, 2], &[7, 512, 512, 1], 256);
        assert_eq!(found, 512.0 * 3_190_272.0);
    }
}
