//! Drawings of laps of a figure of eight, seen from above.

use serde_json::json;

use super::animation::Drawing;
use super::axis::{extent, number};
use super::rollout::Rollout;
use super::svg::{Picture, series_class};

pub(super) static LAP: Drawing = Drawing {
    state_labels: &[],
    action_labels: &[],
    angle: None,
    caption: "The track, dashed, is two circles of 3 m diameter; the line is the way of the whole roll-out.",
    fits: |rollout| rollout.xs[0].len() >= 5 && rollout.us[0].len() == 2,
    scene,
    strip,
};

/// Radius of the circles (m).
const RADIUS: f64 = 1.5;

/// Where the picture shows the origin, and pixels per metre.
#[derive(Clone, Copy)]
struct View {
    x0: f64,
    y0: f64,
    scale: f64,
}

impl View {
    /// One of the given width that shows both circles and all `points`, and its height.
    fn of(
        points: impl Iterator<Item = (f64, f64)> + Clone,
        radius: f64,
        width: f64,
    ) -> (Self, f64) {
        let room = 0.3;
        let range = |values: &mut dyn Iterator<Item = f64>, least: f64| {
            let (low, high) = extent(values).unwrap_or((0.0, 0.0));
            (low.min(-least) - room, high.max(least) + room)
        };
        let (left, right) = range(&mut points.clone().map(|p| p.0), 2.0 * radius);
        let (low, high) = range(&mut points.map(|p| p.1), radius);
        let scale = width / (right - left);
        (Self { x0: -left * scale, y0: high * scale, scale }, (high - low) * scale)
    }

    fn at(self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.x0 + self.scale * x, self.y0 - self.scale * y)
    }

    fn track(self, p: &mut Picture, radius: f64) {
        for side in [-1.0, 1.0] {
            p.circle("lane", self.at((side * radius, 0.0)), radius * self.scale, "");
        }
    }

    /// The robot, whose transform the script changes.
    fn robot(self, p: &mut Picture, x: &[f64]) {
        let (across, down) = self.at((x[0], x[1]));
        let turn = -x[3].to_degrees();
        p.begin(&format!(
            r#"class="robot-group" transform="translate({across:.1} {down:.1}) rotate({turn:.2})""#
        ));
        p.polygon("robot", &[(13.0, 0.0), (-9.0, -7.0), (-5.0, 0.0), (-9.0, 7.0)]);
        p.end();
    }
}

fn places(rollout: &Rollout) -> impl Iterator<Item = (f64, f64)> + Clone + '_ {
    rollout.xs.iter().map(|x| (x[0], x[1]))
}

fn scene(rollout: &Rollout) -> Picture {
    let (view, height) = View::of(places(rollout), RADIUS, 920.0);
    let mut p = Picture::new(920.0, height, "laps: animation of the trajectory");
    view.track(&mut p, RADIUS);
    p.polyline("path s0", places(rollout).map(|place| Some(view.at(place))));
    view.robot(&mut p, &rollout.xs[0]);
    p.data = Some(json!({
        "drawing": "lap", "dt": rollout.dt, "xs": rollout.xs, "us": rollout.us,
        "rewards": rollout.rewards, "x0": view.x0, "y0": view.y0, "scale": view.scale,
    }));
    p
}

fn strip(rollout: &Rollout) -> Picture {
    let (w, columns) = (230.0, 4);
    let (view, height) = View::of(places(rollout), RADIUS, w - 10.0);
    let h = height + 30.0;
    let mut p = Picture::new(920.0, 2.0 * h, "laps: eight frames of the trajectory");
    let last = rollout.xs.len() - 1;
    for frame in 0..8 {
        let (column, row) = (frame % columns, frame / columns);
        let k = (frame as f64 / 7.0 * last as f64).round() as usize;
        let place = |down: f64| {
            format!(r#"transform="translate({} {})""#, column as f64 * w, row as f64 * h + down)
        };
        p.begin(&place(0.0));
        p.rect("frame", (3.0, 3.0), (w - 6.0, h - 8.0), 4.0);
        p.text("label", (12.0, 20.0), &format!("t = {} s", number(k as f64 * rollout.dt, 2)));
        p.end();
        p.begin(&place(18.0));
        view.track(&mut p, RADIUS);
        p.polyline("path s0", places(rollout).take(k + 1).map(|place| Some(view.at(place))));
        view.robot(&mut p, &rollout.xs[k]);
        p.end();
    }
    p
}

/// A way on the track, with places that are marked.
pub(crate) struct Path<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: &'a [(f64, f64)],
    pub(crate) marks: &'a [(f64, f64)],
}

/// Ways on one track of circles with this radius (m).
pub(crate) fn overlay(radius: f64, paths: &[Path<'_>]) -> Picture {
    let all = paths.iter().flat_map(|path| path.points.iter().chain(path.marks).copied());
    let (view, height) = View::of(all, radius, 760.0);
    let mut p = Picture::new(760.0, height + 26.0, "laps on the track, seen from above");
    view.track(&mut p, radius);
    for (i, path) in paths.iter().enumerate() {
        let class = series_class(i);
        p.polyline(&format!("path {class}"), path.points.iter().map(|&place| Some(view.at(place))));
        for &mark in path.marks {
            p.circle(&format!("ring {class}"), view.at(mark), 3.5, "");
        }
        let x = 20.0 + 150.0 * i as f64;
        p.line(&format!("mean {class}"), (x, height + 10.0), (x + 22.0, height + 10.0));
        p.text("label", (x + 30.0, height + 14.0), path.name);
    }
    let x = 20.0 + 150.0 * paths.len() as f64;
    p.line("lane", (x, height + 10.0), (x + 22.0, height + 10.0));
    p.text("label", (x + 30.0, height + 14.0), "reference");
    p
}

#[cfg(test)]
mod tests {
    use super::super::animation;
    use super::super::svg::assert_well_formed;
    use super::*;

    #[test]
    fn laps_have_a_scene_eight_frames_and_an_overlay() {
        let rollout = Rollout {
            task: "car-lap".to_owned(),
            dt: 0.1,
            state_names: Vec::new(),
            xs: (0..11).map(|k| vec![0.1 * f64::from(k), 0.0, 1.0, 0.5, 0.0]).collect(),
            us: vec![vec![0.5; 2]; 10],
            rewards: vec![-1.0; 10],
        };
        let scene = animation::scene(&rollout).unwrap();
        let strip = animation::strip(&rollout).unwrap();
        for (picture, frames) in [(&scene, 1), (&strip, 8)] {
            assert_well_formed(&picture.file());
            assert_eq!(picture.inline().matches("robot-group").count(), frames);
            assert_eq!(picture.inline().matches("class=\"lane\"").count(), 2 * frames);
        }
        let path = [(0.0, 0.0), (1.0, 1.0)];
        let picture = overlay(1.5, &[Path { name: "a", points: &path, marks: &path }]);
        assert_well_formed(&picture.file());
        assert_eq!(picture.inline().matches("class=\"ring s0\"").count(), 2);
    }
}
