//! Symmetric matrices on the fixed pattern of a network, and their factors.

use std::collections::VecDeque;

use nalgebra::{DMatrix, DVector, Dyn, LU};

/// The order of the masses in the matrix, by reverse Cuthill–McKee, and the bandwidth it leaves.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// Place of each mass.
    pub(super) place: Vec<usize>,
    /// Number of sub-diagonals, in coordinates.
    half_bandwidth: usize,
    d: usize,
    identity: bool,
}

impl Pattern {
    /// The better of the order given and the reverse Cuthill–McKee order, for `n` masses with `d`
    /// coordinates each.
    pub(super) fn new(n: usize, d: usize, edges: &[(usize, usize)]) -> Self {
        let width = |place: &[usize]| {
            edges.iter().map(|&(a, b)| place[a].abs_diff(place[b])).max().unwrap_or(0)
        };
        let given: Vec<usize> = (0..n).collect();
        let better = reverse_cuthill_mckee(n, edges);
        let identity = width(&given) <= width(&better);
        let place = if identity { given } else { better };
        let half_bandwidth = d * (width(&place) + 1) - 1;
        Self { place, half_bandwidth, d, identity }
    }

    fn put_in_places(&self, b: &[f64], placed: &mut [f64]) {
        for (&place, b) in self.place.iter().zip(b.chunks_exact(self.d)) {
            placed[self.d * place..][..self.d].copy_from_slice(b);
        }
    }

    fn take_from_places(&self, placed: &[f64], b: &mut [f64]) {
        for (&place, b) in self.place.iter().zip(b.chunks_exact_mut(self.d)) {
            b.copy_from_slice(&placed[self.d * place..][..self.d]);
        }
    }
}

/// Place of each node after a breadth-first walk from an end of each component, turned round.
fn reverse_cuthill_mckee(n: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut neighbours = vec![Vec::new(); n];
    for &(a, b) in edges {
        neighbours[a].push(b);
        neighbours[b].push(a);
    }
    for list in &mut neighbours {
        list.sort_unstable();
        list.dedup();
    }
    let degrees: Vec<usize> = neighbours.iter().map(Vec::len).collect();
    for list in &mut neighbours {
        list.sort_by_key(|&node| (degrees[node], node));
    }
    let walk = |start: usize, seen: &mut [bool]| {
        let (mut order, mut queue) = (Vec::new(), VecDeque::from([start]));
        seen[start] = true;
        while let Some(node) = queue.pop_front() {
            order.push(node);
            for &next in &neighbours[node] {
                if !seen[next] {
                    seen[next] = true;
                    queue.push_back(next);
                }
            }
        }
        order
    };
    let mut by_degree: Vec<usize> = (0..n).collect();
    by_degree.sort_by_key(|&node| (degrees[node], node));
    let (mut seen, mut order) = (vec![false; n], Vec::with_capacity(n));
    for start in by_degree {
        if seen[start] {
            continue;
        }
        // The node farthest from any node lies at an end of the component.
        let far = walk(start, &mut seen.clone()).last().copied().unwrap_or(start);
        order.extend(walk(far, &mut seen));
    }
    let mut place = vec![0; n];
    for (at, node) in order.into_iter().rev().enumerate() {
        place[node] = at;
    }
    place
}

/// The lower half of a symmetric band matrix, row by row; after [`Band::cholesky`] its factor L with
/// the reciprocals of the diagonal.
#[derive(Debug, Clone)]
pub(super) struct Band {
    entries: Vec<f64>,
    n: usize,
    half_bandwidth: usize,
}

impl Band {
    pub(super) fn zeros(pattern: &Pattern) -> Self {
        let (n, half_bandwidth) = (pattern.d * pattern.place.len(), pattern.half_bandwidth);
        Self { entries: vec![0.0; n * (half_bandwidth + 1)], n, half_bandwidth }
    }

    pub(super) fn clear(&mut self) {
        self.entries.fill(0.0);
    }

    pub(super) fn copy_from(&mut self, other: &Self) {
        self.entries.copy_from_slice(&other.entries);
    }

    /// Position of entry (row, column), row ≥ column, within the band.
    fn at(&self, row: usize, column: usize) -> usize {
        row * self.half_bandwidth + self.half_bandwidth + column
    }

    /// Adds to the diagonal entries of the mass at `place`.
    pub(super) fn add_diagonal(&mut self, place: usize, d: usize, value: f64) {
        for i in d * place..d * (place + 1) {
            let at = self.at(i, i);
            self.entries[at] += value;
        }
    }

    /// Adds `factor` times a symmetric block at the places (a, b).
    pub(super) fn add_block<const D: usize>(
        &mut self,
        a: usize,
        b: usize,
        factor: f64,
        block: &[[f64; D]; D],
    ) {
        let (lower, upper) = (a.max(b), a.min(b));
        for (i, row) in block.iter().enumerate() {
            let columns = if lower == upper { i + 1 } else { D };
            let at = self.at(D * lower + i, D * upper);
            for (entry, value) in self.entries[at..at + columns].iter_mut().zip(row) {
                *entry += factor * value;
            }
        }
    }

    /// Replaces the matrix by its Cholesky factor; false, with the contents lost, if it is not
    /// positive definite.
    pub(super) fn cholesky(&mut self) -> bool {
        let b = self.half_bandwidth;
        for i in 0..self.n {
            let first = i.saturating_sub(b);
            let (above, row) = self.entries.split_at_mut(i * (b + 1));
            let row = &mut row[b - (i - first)..=b];
            for j in first..i {
                // L_ij = (A_ij − Σ_k L_ik L_jk)/L_jj over the columns that both rows hold.
                let from = first.max(j.saturating_sub(b));
                let other = &above[j * b + b + from..=j * b + b + j];
                let (sum, pivot) = dot_and_last(&row[from - first..j - first], other);
                row[j - first] = (row[j - first] - sum) * pivot;
            }
            let (held, diagonal) = row.split_at_mut(i - first);
            let pivot = diagonal[0] - held.iter().map(|l| l * l).sum::<f64>();
            if !(pivot > 0.0 && pivot.is_finite()) {
                return false;
            }
            diagonal[0] = pivot.sqrt().recip();
        }
        true
    }

    /// Overwrites b by A⁻¹b, after [`Band::cholesky`].
    fn solve(&self, x: &mut [f64]) {
        let b = self.half_bandwidth;
        for i in 0..self.n {
            let first = i.saturating_sub(b);
            let row = &self.entries[i * b + b + first..=i * b + b + i];
            let (sum, pivot) = dot_and_last(&x[first..i], row);
            x[i] = (x[i] - sum) * pivot;
        }
        for i in (0..self.n).rev() {
            let first = i.saturating_sub(b);
            let row = &self.entries[i * b + b + first..=i * b + b + i];
            let (held, pivot) = row.split_at(i - first);
            let value = x[i] * pivot[0];
            x[i] = value;
            for (x, l) in x[first..i].iter_mut().zip(held) {
                *x -= l * value;
            }
        }
    }

    fn to_dense(&self) -> DMatrix<f64> {
        DMatrix::from_fn(self.n, self.n, |i, j| {
            let (row, column) = (i.max(j), i.min(j));
            if row - column > self.half_bandwidth {
                0.0
            } else {
                self.entries[self.at(row, column)]
            }
        })
    }
}

/// Σ aₖ bₖ over the entries of `a`, and the entry of `b` that follows them.
fn dot_and_last(a: &[f64], b: &[f64]) -> (f64, f64) {
    let (held, last) = b.split_at(a.len());
    (a.iter().zip(held).map(|(a, b)| a * b).sum(), last[0])
}

/// A factored matrix.
#[derive(Debug, Clone)]
pub(super) struct Factor {
    pub(super) band: Band,
    /// Of a matrix that is not positive definite.
    general: Option<Box<LU<f64, Dyn, Dyn>>>,
}

impl Factor {
    pub(super) fn new(pattern: &Pattern) -> Self {
        Self { band: Band::zeros(pattern), general: None }
    }

    /// Factors `matrix`; whether it is positive definite. Only another one allocates.
    pub(super) fn factor(&mut self, matrix: &Band) -> bool {
        self.band.copy_from(matrix);
        let definite = self.band.cholesky();
        self.general = (!definite).then(|| Box::new(matrix.to_dense().lu()));
        definite
    }

    /// Whether every system has a solution.
    pub(super) fn is_invertible(&self) -> bool {
        self.general.as_ref().is_none_or(|lu| lu.is_invertible())
    }

    /// Overwrites `b`, in the order of the masses, by A⁻¹b; `placed` is scratch of the same length.
    pub(super) fn solve(&self, pattern: &Pattern, b: &mut [f64], placed: &mut [f64]) {
        if let Some(lu) = &self.general {
            pattern.put_in_places(b, placed);
            let mut x = DVector::from_column_slice(placed);
            lu.solve_mut(&mut x);
            pattern.take_from_places(x.as_slice(), b);
        } else {
            self.band.solve_placed(pattern, b, placed);
        }
    }
}

impl Band {
    /// As [`Factor::solve`], for a positive definite matrix.
    pub(super) fn solve_placed(&self, pattern: &Pattern, b: &mut [f64], placed: &mut [f64]) {
        if pattern.identity {
            self.solve(b);
        } else {
            pattern.put_in_places(b, placed);
            self.solve(placed);
            pattern.take_from_places(placed, b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    /// A ring of eight masses numbered badly, so that the order must be changed.
    fn ring() -> Vec<(usize, usize)> {
        let order = [0, 5, 2, 7, 1, 6, 3, 4];
        (0..8).map(|i| (order[i], order[(i + 1) % 8])).collect()
    }

    #[test]
    fn reordering_narrows_a_ring_to_two_blocks() {
        assert_eq!(Pattern::new(8, 3, &ring()).half_bandwidth, 3 * 3 - 1);
        assert!(Pattern::new(3, 2, &[(0, 1), (1, 2)]).identity);
    }

    #[test]
    fn a_banded_solve_equals_the_dense_one_with_definite_and_indefinite_matrices() {
        for (size, definite) in [(9.0, true), (0.3, false)] {
            let pattern = Pattern::new(8, 2, &ring());
            let mut stream = Stream::new(3, "band", 0);
            let mut band = Band::zeros(&pattern);
            let mut dense = DMatrix::zeros(16, 16);
            for place in 0..8 {
                band.add_diagonal(pattern.place[place], 2, size);
            }
            dense.fill_diagonal(size);
            for (a, b) in ring() {
                let [p, q, r] = std::array::from_fn(|_| stream.normal());
                let block = [[p, q], [q, r]];
                band.add_block(pattern.place[a], pattern.place[b], -1.0, &block);
                for (i, row) in block.iter().enumerate() {
                    for (j, value) in row.iter().enumerate() {
                        dense[(2 * a + i, 2 * b + j)] -= value;
                        dense[(2 * b + i, 2 * a + j)] -= value;
                    }
                }
            }
            let mut factor = Factor::new(&pattern);
            assert_eq!(factor.factor(&band), definite);
            let b = DVector::from_fn(16, |_, _| stream.normal());
            let (mut x, mut placed) = (b.clone(), vec![0.0; 16]);
            factor.solve(&pattern, x.as_mut_slice(), &mut placed);
            assert!((dense * &x - b).amax() < 1e-11);
        }
    }
}
