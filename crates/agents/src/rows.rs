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

#[cfg(test)]
mod tests {
    use super::*;
    use dynamics::Stream;
    use nalgebra::DMatrix;

    const SHAPE: TransitionShape = TransitionShape { n_observations: 4, nu: 2, ndx: 3 };
    const N: usize = 5;

    fn normals(n: usize, index: u64) -> Vec<f64> {
        let mut stream = Stream::new(0, "rows", index);
        (0..n).map(|_| stream.normal()).collect()
    }

    #[test]
    fn rows_of_gradients_and_directions_are_dense_products_and_adjoint() {
        let (gradients, directions) = (normals(N * 6, 0), normals(N * 5, 1));
        let ox = normals(N * 4 * 3, 2);
        let (mut pulled, mut pushed) = (vec![f64::NAN; N * 5], vec![f64::NAN; N * 6]);
        pull_back(&gradients, &ox, SHAPE, &mut pulled);
        push_forward(&directions, &ox, SHAPE, &mut pushed);
        for b in 0..N {
            // [∂o/∂x 0; 0 1]
            let mut whole = DMatrix::identity(6, 5);
            whole.view_mut((0, 0), (4, 3)).copy_from(&DMatrix::from_row_slice(
                4,
                3,
                &ox[12 * b..][..12],
            ));
            whole.view_mut((4, 0), (2, 3)).fill(0.0);
            whole.view_mut((0, 3), (4, 2)).fill(0.0);
            whole.view_mut((4, 3), (2, 2)).fill_with_identity();
            let gradient = DMatrix::from_row_slice(1, 6, &gradients[6 * b..][..6]);
            let direction = DMatrix::from_column_slice(5, 1, &directions[5 * b..][..5]);
            let (in_state, in_observation) = (&gradient * &whole, &whole * &direction);
            for j in 0..5 {
                assert!((pulled[5 * b + j] - in_state[j]).abs() < 1e-14, "row {b}, column {j}");
            }
            for k in 0..6 {
                assert!((pushed[6 * b + k] - in_observation[k]).abs() < 1e-14, "row {b}, {k}");
            }
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let difference = dot(&pulled, &directions) - dot(&gradients, &pushed);
        assert!(difference.abs() < 1e-13, "{difference}");
    }

    #[test]
    fn where_the_observation_is_the_state_rows_stay_as_they_are() {
        let shape = TransitionShape { n_observations: 3, nu: 2, ndx: 3 };
        let rows = normals(N * 5, 3);
        let mut out = vec![f64::NAN; N * 5];
        pull_back(&rows, &[], shape, &mut out);
        assert_eq!(out, rows);
        out.fill(f64::NAN);
        push_forward(&rows, &[], shape, &mut out);
        assert_eq!(out, rows);
    }

    #[test]
    fn joined_rows_split_into_their_actions() {
        let (o, u) = (normals(N * 4, 4), normals(N * 2, 5));
        let (mut rows, mut actions) = (vec![f64::NAN; N * 6], vec![f64::NAN; N * 2]);
        join(&o, &u, SHAPE, &mut rows);
        split_actions(&rows, SHAPE, &mut actions);
        assert_eq!(actions, u);
        assert_eq!(rows[6..10], o[4..8]);
    }
}
