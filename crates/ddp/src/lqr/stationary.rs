//! Regulators over an infinite horizon, from algebraic Riccati equations.

use nalgebra::{Cholesky, DMatrix};

use super::doubling::{spectral_abscissa, spectral_radius, stabilizing_solution, stein_solution};
use super::error::{Check, LqrError, check_discount, symmetric_part};

/// The largest residual that is accepted, relative to the terms of the equation.
const RESIDUAL_TOLERANCE: f64 = 1e-8;

/// The shift of the Cayley transform, relative to the mean modulus of the eigenvalues: 1 takes the
/// fewest doublings, but is so close to the eigenvalues that on hard problems it costs two digits.
const SHIFT: f64 = 3.0;

/// A linear system with a quadratic cost that do not depend on time: x⁺ (or ẋ) = A x + B u, with
/// the cost (or its rate) ½ xᵀQx + uᵀSx + ½ uᵀRu.
#[derive(Debug, Clone, PartialEq)]
pub struct StationaryProblem {
    /// A, nx × nx.
    pub a: DMatrix<f64>,
    /// B, nx × nu.
    pub b: DMatrix<f64>,
    /// Q, nx × nx, symmetric. It may be indefinite, as may Q − SᵀR⁻¹S: what counts is that the
    /// Riccati equation has a stabilising solution.
    pub q: DMatrix<f64>,
    /// S, nu × nx.
    pub s: DMatrix<f64>,
    /// R, nu × nu, symmetric and positive definite.
    pub r: DMatrix<f64>,
}

/// The stationary regulator of a discrete-time system.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscreteRegulator {
    /// P of the value ½ xᵀPx, nx × nx, symmetric.
    pub p: DMatrix<f64>,
    /// K of u = K x, nu × nx.
    pub gains: DMatrix<f64>,
    /// Largest modulus of the eigenvalues of A + BK. Below 1 without discount; with a discount γ
    /// it is below 1/√γ only.
    pub spectral_radius: f64,
    /// Doublings made.
    pub iterations: usize,
    /// Norm of the residual of the Riccati equation, relative to its terms.
    pub residual: f64,
}

/// The stationary regulator of a continuous-time system.
#[derive(Debug, Clone, PartialEq)]
pub struct ContinuousRegulator {
    /// P of the value ½ xᵀPx, nx × nx, symmetric.
    pub p: DMatrix<f64>,
    /// K of u = K x, nu × nx.
    pub gains: DMatrix<f64>,
    /// Largest real part of the eigenvalues of A + BK, below 0.
    pub spectral_abscissa: f64,
    /// Doublings made.
    pub iterations: usize,
    /// Norm of the residual of the Riccati equation, relative to its terms.
    pub residual: f64,
}

/// The optimal gains of x⁺ = A x + B u for the cost Σₜ γᵗ (½ xᵀQx + uᵀSx + ½ uᵀRu), with γ the
/// `discount`.
///
/// Solves P = Q + γAᵀPA + (γAᵀPB + Sᵀ)K with K = −(R + γBᵀPB)⁻¹(γBᵀPA + S) by structured doubling,
/// which converges quadratically, and sharpens the result by one step of policy iteration, in which
/// P becomes the value of the gains found, where that lowers the residual (Hewer, *An iterative
/// technique for the computation of the steady state gains for the discrete optimal regulator*,
/// IEEE Transactions on Automatic Control 16 (1971)).
///
/// # Errors
/// [`LqrError::Dimension`], [`LqrError::NotFinite`], [`LqrError::NotSymmetric`] and
/// [`LqrError::NotPositiveDefinite`] for the data, [`LqrError::Discount`], and, if no regulator is
/// found, [`LqrError::NotStabilizable`], [`LqrError::NoStabilizingSolution`] or
/// [`LqrError::Inaccurate`]. With a discount, stable means decaying faster than γ^(−t/2) grows.
pub fn discrete(problem: &StationaryProblem, discount: f64) -> Result<DiscreteRegulator, LqrError> {
    check_discount(discount)?;
    problem.check()?;
    // The discounted problem is an undiscounted one in γ^(t/2) x and γ^(t/2) u.
    let root = discount.sqrt();
    let scaled =
        StationaryProblem { a: &problem.a * root, b: &problem.b * root, ..problem.clone() };
    let (Candidate { p, gains, residual }, iterations) = solve(&scaled, Time::Discrete)?;
    let spectral_radius = spectral_radius(&problem.a + &problem.b * &gains);
    Ok(DiscreteRegulator { p, gains, spectral_radius, iterations, residual })
}

/// The optimal gains of ẋ = A x + B u for the cost ∫ ½ xᵀQx + uᵀSx + ½ uᵀRu dt.
///
/// Solves AᵀP + PA + Q + (PB + Sᵀ)K = 0 with K = −R⁻¹(BᵀP + S). A Cayley transform
/// (A + σI)(A − σI)⁻¹ of the Hamiltonian matrix turns it into a discrete-time equation with the same
/// solution, to which structured doubling applies (Chu, Fan and Lin, *A structure-preserving
/// doubling algorithm for continuous-time algebraic Riccati equations*, Linear Algebra and its
/// Applications 396 (2005)). The shift σ is three times the geometric mean of the moduli of its
/// eigenvalues, which are the closed-loop poles and their mirror images: any σ > 0 leads to the same
/// P, and this one needs few doublings whatever the units of time and of the states. One step of
/// policy iteration follows, as in [`discrete`] (Kleinman, *On an iterative technique for Riccati
/// equation computations*, IEEE Transactions on Automatic Control 13 (1968)).
///
/// # Errors
/// As those of [`discrete`], without a discount.
pub fn continuous(problem: &StationaryProblem) -> Result<ContinuousRegulator, LqrError> {
    problem.check()?;
    let (Candidate { p, gains, residual }, iterations) = solve(problem, Time::Continuous)?;
    let spectral_abscissa = spectral_abscissa(&(&problem.a + &problem.b * &gains));
    Ok(ContinuousRegulator { p, gains, spectral_abscissa, iterations, residual })
}

/// Which of the two Riccati equations is meant.
#[derive(Clone, Copy)]
enum Time {
    Discrete,
    Continuous,
}

/// A candidate for the solution of a Riccati equation.
struct Candidate {
    p: DMatrix<f64>,
    /// The optimal gains for `p`.
    gains: DMatrix<f64>,
    /// Norm of the residual, relative to the terms of the equation.
    residual: f64,
}

/// The stationary regulator and the number of doublings, or why there is none.
fn solve(problem: &StationaryProblem, time: Time) -> Result<(Candidate, usize), LqrError> {
    let needed = RESIDUAL_TOLERANCE;
    let accurate = |(candidate, _): &(Candidate, usize)| candidate.residual <= needed;
    let found = match problem.regulator(time) {
        Some(regulator) if accurate(&regulator) => return Ok(regulator),
        found => found,
    };
    // With a weight on every state there is a regulator exactly if the system can be stabilised.
    let StationaryProblem { a, b, r, .. } = problem.clone();
    let weight = DMatrix::identity(a.nrows(), a.nrows());
    let every_state_seen = StationaryProblem::new(a, b, weight, r);
    if !every_state_seen.regulator(time).is_some_and(|regulator| accurate(&regulator)) {
        return Err(LqrError::NotStabilizable);
    }
    Err(match found {
        Some((Candidate { residual, .. }, iterations)) => {
            LqrError::Inaccurate { residual, needed, iterations }
        }
        None => LqrError::NoStabilizingSolution,
    })
}

impl StationaryProblem {
    /// A problem without cross term: S = 0.
    #[must_use]
    pub fn new(a: DMatrix<f64>, b: DMatrix<f64>, q: DMatrix<f64>, r: DMatrix<f64>) -> Self {
        let s = DMatrix::zeros(r.nrows(), a.nrows());
        Self { a, b, q, s, r }
    }

    fn check(&self) -> Result<(), LqrError> {
        let (nx, nu) = (self.a.nrows().max(1), self.b.ncols().max(1));
        let check = Check { stage: None };
        check.matrix("a", &self.a, (nx, nx))?;
        check.matrix("b", &self.b, (nx, nu))?;
        check.hessian("q", &self.q, nx)?;
        check.matrix("s", &self.s, (nu, nx))?;
        check.hessian("r", &self.r, nu)?;
        check.cholesky("r", &self.r).map(drop)
    }

    /// The stabilising solution and the number of doublings.
    fn regulator(&self, time: Time) -> Option<(Candidate, usize)> {
        let (p, iterations) = self.stabilizing_solution(time)?;
        let doubled = self.candidate(p, time)?;
        // Doubling inverts R and accumulates rounding errors; the value of its gains does neither,
        // and is farther from the optimum than they only by the square of their error. Where the
        // closed loop is so sensitive that this does not help, the solution of the doubling stays.
        let sharpened = self.candidate(self.value_of(&doubled.gains, time)?, time)?;
        let best = if sharpened.residual < doubled.residual { sharpened } else { doubled };
        Some((best, iterations))
    }

    /// P by doubling, and the number of doublings.
    fn stabilizing_solution(&self, time: Time) -> Option<(DMatrix<f64>, usize)> {
        let factor = Cholesky::new(self.r.clone())?;
        // u = w − R⁻¹S x removes the cross term.
        let a = &self.a - &self.b * factor.solve(&self.s);
        let g = symmetric_part(&(&self.b * factor.solve(&self.b.transpose())));
        let h = symmetric_part(&(&self.q - self.s.transpose() * factor.solve(&self.s)));
        match time {
            Time::Discrete => stabilizing_solution(a, g, h),
            Time::Continuous => {
                let (a, g, h) = cayley(&a, &g, &h)?;
                stabilizing_solution(a, g, h)
            }
        }
    }

    /// `None` if no control is optimal for the value P.
    fn candidate(&self, p: DMatrix<f64>, time: Time) -> Option<Candidate> {
        let pb_t = self.b.transpose() * &p;
        let gains = -match time {
            // (R + BᵀPB)⁻¹(BᵀPA + S)
            Time::Discrete => Cholesky::new(symmetric_part(&(&self.r + &pb_t * &self.b)))?
                .solve(&(pb_t * &self.a + &self.s)),
            // R⁻¹(BᵀP + S)
            Time::Continuous => Cholesky::new(self.r.clone())?.solve(&(pb_t + &self.s)),
        };
        let residual = self.residual(&p, &gains, time);
        Some(Candidate { p, gains, residual })
    }

    /// A + BK and the Hessian Q + SᵀK + KᵀS + KᵀRK of the cost under u = K x.
    fn closed_loop(&self, gains: &DMatrix<f64>) -> (DMatrix<f64>, DMatrix<f64>) {
        let cross = self.s.transpose() * gains;
        let cost = &self.q + &cross + cross.transpose() + gains.transpose() * &self.r * gains;
        (&self.a + &self.b * gains, symmetric_part(&cost))
    }

    /// P of the value under u = K x, optimal or not; `None` if the closed loop is not stable.
    fn value_of(&self, gains: &DMatrix<f64>, time: Time) -> Option<DMatrix<f64>> {
        let (a, q) = self.closed_loop(gains);
        match time {
            Time::Discrete => stein_solution(a, q),
            Time::Continuous => {
                // Without control the Riccati equation is a Lyapunov equation.
                let n = a.nrows();
                let (a, _, h) = cayley(&a, &DMatrix::zeros(n, n), &q)?;
                stein_solution(a, h)
            }
        }
    }

    /// The norm of the residual, relative to the sum of those of its terms. In the closed-loop form
    /// the terms do not cancel each other, so that an unstable A costs no digits.
    fn residual(&self, p: &DMatrix<f64>, gains: &DMatrix<f64>, time: Time) -> f64 {
        let (a, q) = self.closed_loop(gains);
        let (first, second) = match time {
            Time::Discrete => (a.transpose() * p * &a, -p),
            Time::Continuous => (a.transpose() * p, p * &a),
        };
        let scale = first.norm() + second.norm() + q.norm();
        (first + second + q).norm() / scale.max(f64::MIN_POSITIVE)
    }
}

/// The discrete-time equation with the solution of AᵀP + PA − PGP + H = 0; `None` if the Hamiltonian
/// matrix is singular, and so has no half of stable eigenvalues.
fn cayley(
    a: &DMatrix<f64>,
    g: &DMatrix<f64>,
    h: &DMatrix<f64>,
) -> Option<(DMatrix<f64>, DMatrix<f64>, DMatrix<f64>)> {
    let n = a.nrows();
    let identity = DMatrix::identity(n, n);
    let shift = SHIFT * mean_modulus(&hamiltonian(a, g, h));
    // The transform is usually put together from (A − σI)⁻¹, which need not exist. The Hamiltonian
    // matrix of A − σI is regular for every σ > 0, if G and H are semidefinite and each growing mode
    // of A is within reach of G and seen by H.
    let inverse = hamiltonian(&(a - &identity * shift), g, h).lu().try_inverse()?;
    let block = |row, col| inverse.view((row * n, col * n), (n, n)) * (2.0 * shift);
    Some((identity + block(0, 0), symmetric_part(&-block(0, 1)), symmetric_part(&-block(1, 0))))
}

/// [A, −G; −H, −Aᵀ].
fn hamiltonian(a: &DMatrix<f64>, g: &DMatrix<f64>, h: &DMatrix<f64>) -> DMatrix<f64> {
    let n = a.nrows();
    let mut matrix = DMatrix::zeros(2 * n, 2 * n);
    matrix.view_mut((0, 0), (n, n)).copy_from(a);
    matrix.view_mut((0, n), (n, n)).copy_from(&-g);
    matrix.view_mut((n, 0), (n, n)).copy_from(&-h);
    matrix.view_mut((n, n), (n, n)).copy_from(&-a.transpose());
    matrix
}

/// The geometric mean of the moduli of the eigenvalues, |det M|^(1/n).
fn mean_modulus(matrix: &DMatrix<f64>) -> f64 {
    let factors = matrix.clone().lu().u();
    let logs = factors.diagonal().map(|pivot| pivot.abs().ln());
    logs.mean().exp()
}
