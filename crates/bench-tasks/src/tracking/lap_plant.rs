//! A robot with commands under way and a clock.

use std::any::Any;

use dynamics::{Dynamics, DynamicsError, GenericDynamics, Linearization, Plant, Scalar};
use nalgebra::DVector;

/// The robot `inner`, whose inputs arrive some steps late, and the time.
///
/// State: that of the robot (the first four entries are x, y, v, φ), entries that are not its own and stay
/// 0, commands under way (those of the first input, the latest last, then those of the second), and the
/// clock (s).
#[derive(Debug, Clone)]
pub(crate) struct LapPlant<P> {
    inner: P,
    /// Entries between the robot's and the commands.
    padding: usize,
    /// Dead times in steps, one per input.
    delays: [usize; 2],
    dt: f64,
}

impl<P: Plant> LapPlant<P> {
    /// A robot with these dead times.
    pub(crate) fn new(inner: P, delays: [usize; 2], dt: f64) -> Self {
        Self { inner, padding: 0, delays, dt }
    }

    /// A robot without dead times in a state of `nx` entries, as a model of a plant with more.
    pub(crate) fn within(inner: P, nx: usize, dt: f64) -> Self {
        let padding = nx - 1 - inner.nx();
        Self { inner, padding, delays: [0; 2], dt }
    }

    /// First command under way of input `j`.
    fn queue(&self, j: usize) -> usize {
        let first = self.inner.nx() + self.padding;
        if j == 0 { first } else { first + self.delays[0] }
    }

    /// Where input `j` of the robot comes from: an entry of the state, or the action itself.
    fn source(&self, j: usize) -> Option<usize> {
        (self.delays[j] > 0).then(|| self.queue(j))
    }

    /// Entries of the state.
    fn size(&self) -> usize {
        self.inner.nx() + self.padding + self.delays[0] + self.delays[1] + 1
    }

    /// Moves everything but the robot.
    fn advance<S: Scalar>(&self, x: &[S], u: &[S], x_next: &mut [S]) {
        let n = self.inner.nx();
        x_next[n..n + self.padding].fill(S::from(0.0));
        for (j, &delay) in self.delays.iter().enumerate() {
            let queue = self.queue(j);
            for i in 0..delay {
                x_next[queue + i] = if i + 1 < delay { x[queue + i + 1] } else { u[j] };
            }
        }
        let clock = self.size() - 1;
        x_next[clock] = x[clock] + self.dt;
    }
}

/// Scratch of a [`LapPlant`].
pub(crate) struct LapWorkspace<W> {
    inner: W,
    x: DVector<f64>,
    u: DVector<f64>,
    x_next: DVector<f64>,
    jacobian: Linearization,
}

impl<P: Plant> LapPlant<P>
where
    P::Workspace: Any + Send,
{
    /// State and delayed action of the robot, left in the scratch.
    fn enter(&self, ws: &mut LapWorkspace<P::Workspace>, x: &DVector<f64>, u: &DVector<f64>) {
        ws.x.copy_from(&x.rows(0, self.inner.nx()));
        for j in 0..2 {
            ws.u[j] = self.source(j).map_or(u[j], |at| x[at]);
        }
    }
}

impl<P: Plant> Plant for LapPlant<P> {
    type Workspace = LapWorkspace<P::Workspace>;

    fn name(&self) -> &str {
        self.inner.name()
    }
    fn nx(&self) -> usize {
        self.size()
    }
    fn nu(&self) -> usize {
        2
    }
    fn workspace(&self) -> Self::Workspace {
        let n = self.inner.nx();
        LapWorkspace {
            inner: self.inner.workspace(),
            x: DVector::zeros(n),
            u: DVector::zeros(2),
            x_next: DVector::zeros(n),
            jacobian: Linearization::zeros(n, 2),
        }
    }
    fn step(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        x_next: &mut DVector<f64>,
    ) -> Result<(), DynamicsError> {
        self.enter(ws, x, u);
        self.inner.step(&mut ws.inner, &ws.x, &ws.u, &mut ws.x_next)?;
        x_next.rows_mut(0, ws.x_next.len()).copy_from(&ws.x_next);
        self.advance(x.as_slice(), u.as_slice(), x_next.as_mut_slice());
        Ok(())
    }
}

impl<P: Dynamics> Dynamics for LapPlant<P> {
    fn linearize(
        &self,
        ws: &mut Self::Workspace,
        x: &DVector<f64>,
        u: &DVector<f64>,
        out: &mut Linearization,
    ) -> Result<(), DynamicsError> {
        self.enter(ws, x, u);
        self.inner.linearize(&mut ws.inner, &ws.x, &ws.u, &mut ws.jacobian)?;
        let n = self.inner.nx();
        let Linearization { fx, fu } = out;
        fx.fill(0.0);
        fu.fill(0.0);
        fx.view_mut((0, 0), (n, n)).copy_from(&ws.jacobian.fx);
        for (j, &delay) in self.delays.iter().enumerate() {
            let column = ws.jacobian.fu.column(j);
            match self.source(j) {
                None => fu.view_mut((0, j), (n, 1)).copy_from(&column),
                Some(at) => fx.view_mut((0, at), (n, 1)).copy_from(&column),
            }
            let queue = self.queue(j);
            for i in 0..delay {
                match i + 1 < delay {
                    true => fx[(queue + i, queue + i + 1)] = 1.0,
                    false => fu[(queue + i, j)] = 1.0,
                }
            }
        }
        let clock = self.size() - 1;
        fx[(clock, clock)] = 1.0;
        Ok(())
    }
}

impl<P: Plant + GenericDynamics> GenericDynamics for LapPlant<P> {
    fn step_generic<S: Scalar>(&self, x: &[S], u: &[S]) -> Vec<S> {
        let delayed = [0, 1].map(|j| self.source(j).map_or(u[j], |at| x[at]));
        let mut x_next = self.inner.step_generic(&x[..self.inner.nx()], &delayed);
        x_next.resize(self.size(), S::from(0.0));
        self.advance(x, u, &mut x_next);
        x_next
    }
}
