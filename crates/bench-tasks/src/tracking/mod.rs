//! The tasks of the tracking-feedback policy gradient (Westenbroek, Levy and Fridovich-Keil, CoRL 2023):
//! each has set points, a reference and a controller beside plant, model and reward.

mod figure_eight;
mod knots;
mod lap_control;
mod lap_plant;
mod laps;
mod reach_point;
mod spline;
mod track_line;

pub use figure_eight::{FigureEight, TrackErrors};
pub use knots::{KnotSettings, KnotTask};
pub use lap_control::{LapControl, LapLaw};
pub use laps::{CarLapSettings, LapCommon, LapTask, LapTracker, QuadrupedLapSettings};
pub use reach_point::{PendulumControl, ReachPoint, ReachPointSettings};
pub use spline::QuadraticSpline;
pub use track_line::{TrackLine, TrackLineSettings};
