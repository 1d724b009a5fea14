//! The native backend of a perceptron: hand-written derivatives, one thread, no allocation.
//!
//! [`Mlp`] has checked all lengths and prepared the workspace before it calls these functions.

use crate::activation::add_bias;
use crate::mlp_workspace::MlpWorkspace;
use crate::{Mlp, Products, Real};

/// Outputs for the inputs `x`; inputs and activations stay in the workspace.
pub(crate) fn forward<T: Real>(net: &Mlp<T>, x: &[T], ws: &mut MlpWorkspace<T>) {
    let (spec, params, batch) = (net.spec(), net.params(), ws.batch());
    ws.inputs[0][..x.len()].copy_from_slice(x);
    let last = spec.n_layers() - 1;
    for layer in 0..=last {
        let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
        let bias = &params[spec.bias(layer)];
        let (below, above) = ws.inputs.split_at_mut(layer + 1);
        let h = &below[layer][..batch * n_in];
        let z = match above.first_mut() {
            Some(z) => &mut z[..batch * n_out],
            None => &mut ws.out[..batch * n_out],
        };
        // Z = W H
        Products::current().forward(&params[spec.weight(layer)], h, z, n_out, n_in);
        if layer < last {
            spec.hidden.apply(bias, z, ws.gates[layer].get_mut(..z.len()).unwrap_or(&mut []));
        } else {
            add_bias(bias, z);
        }
    }
}

/// Directional derivatives of the outputs along `v`; intermediate tangents stay in the workspace.
pub(crate) fn tangent<T: Real>(net: &Mlp<T>, v: &[T], ws: &mut MlpWorkspace<T>) {
    let (spec, params, batch) = (net.spec(), net.params(), ws.batch());
    ws.inputs[0][v.len()..2 * v.len()].copy_from_slice(v);
    for layer in 0..spec.n_layers() {
        let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
        let weight = &params[spec.weight(layer)];
        let (below, above) = ws.inputs.split_at_mut(layer + 1);
        let h_dot = &below[layer][batch * n_in..2 * batch * n_in];
        if let Some(above) = above.first_mut() {
            // ż = W ḣ, then ḣ = φ′ ż
            let z_dot = &mut ws.z_dots[layer][..batch * n_out];
            Products::current().forward(weight, h_dot, z_dot, n_out, n_in);
            let (h, rest) = above.split_at_mut(batch * n_out);
            let gate = ws.gates[layer].get(..h.len()).unwrap_or(&[]);
            spec.hidden.push_forward(h, gate, z_dot, &mut rest[..batch * n_out]);
        } else {
            let out = &mut ws.out_tangent[..batch * n_out];
            Products::current().forward(weight, h_dot, out, n_out, n_in);
        }
    }
}

/// The reverse pass behind all derivative methods: `grads` is added to, `gx` overwritten.
///
/// With a `tangent_seed` the sensitivities to tangents stand behind those to values, as ḣ stands
/// behind h in the workspace: every product then simply has twice the batch.
pub(crate) fn reverse<T: Real>(
    net: &Mlp<T>,
    seed: &[T],
    tangent_seed: Option<&[T]>,
    ws: &mut MlpWorkspace<T>,
    mut grads: Option<&mut [T]>,
    gx: Option<&mut [T]>,
) {
    let (spec, params, batch) = (net.spec(), net.params(), ws.batch());
    ws.bar[..seed.len()].copy_from_slice(seed);
    let mut columns = batch;
    if let Some(tangent_seed) = tangent_seed {
        ws.bar[seed.len()..2 * seed.len()].copy_from_slice(tangent_seed);
        columns = 2 * batch;
    }
    // The sensitivities to tangents are those of an input gradient with the same seed.
    let known = tangent_seed.is_some_and(|seed| !seed.is_empty() && seed == ws.h_bars_seed);
    let keep = tangent_seed.is_none() && grads.is_none();
    if keep {
        ws.h_bars_seed.clear();
        ws.h_bars_seed.extend_from_slice(seed);
    }
    for layer in (0..spec.n_layers()).rev() {
        let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
        let weight = spec.weight(layer);
        let z_bar = &ws.bar[..columns * n_out];
        if let Some(grads) = grads.as_deref_mut() {
            // W̄ += z̄ hᵀ + ż̄ ḣᵀ in one product
            let h = &ws.inputs[layer][..columns * n_in];
            Products::current().weight(z_bar, h, &mut grads[weight.clone()], n_out, n_in);
            let bias = &mut grads[spec.bias(layer)];
            for row in z_bar[..batch * n_out].chunks_exact(n_out) {
                for (sum, bar) in bias.iter_mut().zip(row) {
                    *sum += *bar;
                }
            }
        }
        if layer == 0 {
            if let Some(gx) = gx {
                Products::current().input(&params[weight], z_bar, gx, n_out, n_in);
            }
            return;
        }
        let h_bar = &mut ws.bar_below[..columns * n_in];
        let kept = &mut ws.h_bars[layer - 1][..batch * n_in];
        let h = &ws.inputs[layer][..batch * n_in];
        let gate = ws.gates[layer - 1].get(..h.len()).unwrap_or(&[]);
        if tangent_seed.is_some() {
            let z_dot = &ws.z_dots[layer - 1][..h.len()];
            if known {
                let (bar, bar_dot) = h_bar.split_at_mut(h.len());
                let z_bar = &z_bar[..batch * n_out];
                Products::current().input(&params[weight], z_bar, bar, n_out, n_in);
                bar_dot.copy_from_slice(kept);
            } else {
                Products::current().input(&params[weight], z_bar, h_bar, n_out, n_in);
            }
            let (bar, bar_dot) = h_bar.split_at_mut(h.len());
            spec.hidden.pull_back_twice(h, gate, z_dot, bar, bar_dot);
        } else if keep {
            Products::current().input(&params[weight], z_bar, kept, n_out, n_in);
            // φ′ does to a sensitivity what it does to a tangent.
            spec.hidden.push_forward(h, gate, kept, h_bar);
        } else {
            Products::current().input(&params[weight], z_bar, h_bar, n_out, n_in);
            spec.hidden.pull_back(h, gate, h_bar);
        }
        std::mem::swap(&mut ws.bar, &mut ws.bar_below);
    }
}

/// The input gradients of the samples `rows` alone, `seed` one row each; 0 for all others.
pub(crate) fn input_gradient_of_rows<T: Real>(
    net: &Mlp<T>,
    seed: &[T],
    rows: &[usize],
    ws: &mut MlpWorkspace<T>,
    gx: &mut [T],
) {
    let (spec, params, n) = (net.spec(), net.params(), rows.len());
    ws.bar[..seed.len()].copy_from_slice(seed);
    gx.fill(T::ZERO);
    for layer in (0..spec.n_layers()).rev() {
        let (n_in, n_out) = (spec.sizes[layer], spec.sizes[layer + 1]);
        let h_bar = &mut ws.bar_below[..n * n_in];
        let weight = &params[spec.weight(layer)];
        Products::current().input(weight, &ws.bar[..n * n_out], h_bar, n_out, n_in);
        for (h_bar, &row) in h_bar.chunks_exact_mut(n_in).zip(rows) {
            let range = row * n_in..(row + 1) * n_in;
            if layer == 0 {
                gx[range].copy_from_slice(h_bar);
            } else {
                let gate = ws.gates[layer - 1].get(range.clone()).unwrap_or(&[]);
                spec.hidden.pull_back(&ws.inputs[layer][range], gate, h_bar);
            }
        }
        std::mem::swap(&mut ws.bar, &mut ws.bar_below);
    }
}
