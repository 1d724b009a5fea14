//! A track of two circles that touch at the origin.

use std::f64::consts::PI;

use dynamics::wrap_to_pi;
use serde::{Deserialize, Serialize};

/// Two circles of equal radius, about (±r, 0). A lap begins at the origin heading along +y: first the
/// right circle, clockwise, then the left one, counter-clockwise, at constant speed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureEight {
    /// r (m).
    pub radius: f64,
    /// Time of a lap (s).
    pub lap: f64,
}

/// Where a position counts, given the time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    /// 1 on the right circle, −1 on the left one.
    side: f64,
    /// atan2(y, x − side·r).
    arc: f64,
    /// Distance from the circle's centre.
    rho: f64,
    /// x − side·r and y.
    offset: [f64; 2],
}

/// How far a car is from what is wanted, with derivatives by [x, y, v, φ].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackErrors {
    /// Distance to the circle, outwards (m).
    pub distance: f64,
    /// v − nominal speed [m/s].
    pub speed: f64,
    /// Heading beyond that of the track (rad).
    pub heading: f64,
    /// ∂distance/∂(x, y).
    pub distance_xy: [f64; 2],
    /// ∂heading/∂(x, y); by φ it is 1.
    pub heading_xy: [f64; 2],
}

impl FigureEight {
    /// Speed along the track [m/s].
    #[must_use]
    pub fn speed(&self) -> f64 {
        4.0 * PI * self.radius / self.lap
    }

    /// The wanted [x, y, ẋ, ẏ] at time `t`.
    #[must_use]
    pub fn at(&self, t: f64) -> [f64; 4] {
        let [x, y, vx, vy, ..] = self.motion(t);
        [x, y, vx, vy]
    }

    /// The derivative of [`FigureEight::at`] by the time.
    #[must_use]
    pub fn rate_at(&self, t: f64) -> [f64; 4] {
        let [.., vx, vy, ax, ay] = self.motion(t);
        [vx, vy, ax, ay]
    }

    /// Position, velocity and acceleration at time `t`.
    fn motion(&self, t: f64) -> [f64; 6] {
        let (r, tau) = (self.radius, t.rem_euclid(self.lap));
        let w = 4.0 * PI / self.lap;
        let (sin, cos) = (w * tau).sin_cos();
        // Both circles begin at the origin, with opposite x.
        let side = if tau < 0.5 * self.lap { 1.0 } else { -1.0 };
        let (v, a) = (r * w, r * w * w);
        [side * (r - r * cos), r * sin, side * v * sin, v * cos, side * a * cos, -a * sin]
    }

    /// The circle on which a position counts at time `t`: that of the lap's quarter, and about the
    /// crossing the one on whose side of it the position is.
    fn place(&self, t: f64, [x, y]: [f64; 2]) -> Place {
        let quarter = (4.0 * t.rem_euclid(self.lap) / self.lap).ceil();
        let upper = y > 0.0;
        let right = match quarter {
            q if q <= 1.0 => upper,
            q if q <= 2.0 => true,
            q if q <= 3.0 => !upper,
            _ => false,
        };
        let side = if right { 1.0 } else { -1.0 };
        let offset = [x - side * self.radius, y];
        Place { side, arc: offset[1].atan2(offset[0]), rho: offset[0].hypot(offset[1]), offset }
    }

    /// Errors of [x, y, v, φ] at time `t`.
    #[must_use]
    pub fn errors(&self, t: f64, [x, y, v, phi]: [f64; 4]) -> TrackErrors {
        let place = self.place(t, [x, y]);
        let Place { side, arc, rho, offset } = place;
        // At the very centre every direction is as good.
        let safe = rho.max(1e-12);
        TrackErrors {
            distance: rho - self.radius,
            speed: v - self.speed(),
            heading: wrap_to_pi(phi - (arc - side * 0.5 * PI)),
            distance_xy: offset.map(|offset| offset / safe),
            heading_xy: place.arc_xy().map(|slope| -slope),
        }
    }

    /// The time within the lap at which the track comes nearest, and its derivatives by (x, y).
    #[must_use]
    pub fn nearest_time(&self, t: f64, position: [f64; 2]) -> (f64, [f64; 2]) {
        let place = self.place(t, position);
        let upper = position[1] > 0.0;
        let quarter = 0.25 * self.lap;
        let arc = place.arc / PI;
        // The time goes with the arc on the left circle, and against it on the right one.
        let time = match (place.side > 0.0, upper) {
            (true, _) => quarter * (1.0 - arc),
            (false, true) => quarter * (2.0 + arc),
            (false, false) => quarter * (4.0 + arc),
        };
        let rate = -place.side * quarter / PI;
        (time, place.arc_xy().map(|slope| rate * slope))
    }
}

impl Place {
    /// ∂arc/∂(x, y).
    fn arc_xy(&self) -> [f64; 2] {
        let squares = self.rho.max(1e-12).powi(2);
        [-self.offset[1] / squares, self.offset[0] / squares]
    }
}
