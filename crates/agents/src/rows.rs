//! Rows of observations, states and actions: joined, split, and carried between observation and
//! state coordinates.

use critics::Real;

use crate::replay::TransitionShape;

/// Rows [o, u] from rows of o and of u.
pub(crate) fn join<T: Real>(o: &[T], u: &[T], shape: TransitionShape, out: &mut [T]) {
    let TransitionShape { n_observations: no, nu, .. } = shape;
    for ((out, o), u) in
        out.chunks_exact_mut(no + nu).zip(o.chunks_exact(no)).zip(u.chunks_exact(nu))
    {
        out[..no].copy_from_slice(o);
        out[no..].copy_from_slice(u);
    }
}

/// The action columns of rows [o, u].
pub(crate) fn split_actions<T: Real>(rows: &[T], shape: TransitionShape, out: &mut [T]) {
    let TransitionShape { n_observations: no, nu, .. } = shape;
    for (out, row) in out.chunks_exact_mut(nu).zip(rows.chunks_exact(no + nu)) {
        out.copy_from_slice(&row[no..]);
    }
}

/// Rows ∂/∂[x, u] from rows ∂/∂[o, u]: ∇ₓ = (∂o/∂x)ᵀ ∇ₒ. An empty `ox` stands for the identity.
pub(crate) fn pull_back<T: Real>(rows: &[T], ox: &[T], shape: TransitionShape, out: &mut [T]) {
    let TransitionShape { n_observations: no, nu, ndx } = shape;
    if ox.is_empty() {
        out.copy_from_slice(rows);
        return;
    }
    for (b, (out, row)) in
        out.chunks_exact_mut(ndx + nu).zip(rows.chunks_exact(no + nu)).enumerate()
    {
        out[..ndx].fill(T::ZERO);
        for (&value, ox) in row.iter().zip(ox[b * no * ndx..][..no * ndx].chunks_exact(ndx)) {
            for (out, &ox) in out[..ndx].iter_mut().zip(ox) {
                *out += value * ox;
            }
        }
        out[ndx..].copy_from_slice(&row[no..]);
    }
}

/// Rows of directions in [o, u] from rows of directions in [x, u]: the adjoint of [`pull_back`].
pub(crate) fn push_forward<T: Real>(rows: &[T], ox: &[T], shape: TransitionShape, out: &mut [T]) {
    let TransitionShape { n_observations: no, nu, ndx } = shape;
    if ox.is_empty() {
        out.copy_from_slice(rows);
        return;
    }
    for (b, (out, row)) in
        out.chunks_exact_mut(no + nu).zip(rows.chunks_exact(ndx + nu)).enumerate()
    {
        for (out, ox) in out[..no].iter_mut().zip(ox[b * no * ndx..][..no * ndx].chunks_exact(ndx))
        {
            *out = ox.iter().zip(row).map(|(&ox, &v)| ox * v).sum();
        }
        out[no..].copy_from_slice(&row[ndx..]);
    }
}
