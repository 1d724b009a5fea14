//! Drawing of the pendulums of PODS: masses that hang by springs from a handle.

use serde_json::json;

use super::animation::Drawing;
use super::axis::{extent, number};
use super::rollout::Rollout;
use super::svg::Picture;

pub(super) static PLANE: Drawing = Drawing {
    state_labels: &[],
    action_labels: &["handle's velocity x [m/s]", "handle's velocity y [m/s]"],
    angle: None,
    caption: "The handle moves with the velocity that is the action; masses hang from it by springs.",
    fits: |rollout| dimension(rollout, 2).is_some(),
    scene: |rollout| scene(rollout, 2),
    strip: |rollout| strip(rollout, 2),
};

pub(super) static SPACE: Drawing = Drawing {
    action_labels: &[
        "handle's velocity x [m/s]",
        "handle's velocity y [m/s]",
        "handle's velocity z [m/s]",
    ],
    caption: "The handle moves with the velocity that is the action; masses hang from it by springs. \
              The picture shows x to the right and z upwards.",
    fits: |rollout| dimension(rollout, 3).is_some(),
    scene: |rollout| scene(rollout, 3),
    strip: |rollout| strip(rollout, 3),
    ..PLANE
};

/// A hand and the ball on its spring, as a mass on a handle.
pub(super) static HAND_BALL: Drawing = Drawing {
    action_labels: &["hand's velocity x [m/s]", "hand's velocity y [m/s]"],
    caption: "The hand moves with the velocity that is the action; the ball hangs from it by a spring and is \
              pushed about at random.",
    fits: |rollout| rollout.xs[0].len() == 8 && rollout.us[0].len() == 2,
    scene: |rollout| scene(&as_mass_on_handle(rollout), 2),
    strip: |rollout| strip(&as_mass_on_handle(rollout), 2),
    ..PLANE
};

/// States (hand, ball, velocity, …) as (x, x before, v, v before, p).
fn as_mass_on_handle(rollout: &Rollout) -> Rollout {
    let mut out = rollout.clone();
    for x in &mut out.xs {
        let (hand, ball, velocity) = (&x[..2], &x[2..4], &x[4..6]);
        *x = [ball, ball, velocity, velocity, hand].concat();
    }
    out
}

/// Coordinates n of the masses, if states are (x, x before, v, v before, p), maybe with a flag, and
/// actions those of a handle in `d` dimensions.
fn dimension(rollout: &Rollout, d: usize) -> Option<usize> {
    let (nx, nu) = (rollout.xs[0].len(), rollout.us[0].len());
    let n = nx.checked_sub(d)? / 4;
    (nu == d && n >= d && n.is_multiple_of(d) && nx - d - 4 * n <= 1).then_some(n)
}

/// Where the picture shows the origin, and pixels per metre.
#[derive(Clone, Copy)]
struct View {
    x0: f64,
    y0: f64,
    scale: f64,
}

/// The handle and the masses of a state, horizontally and upwards (m).
fn points(x: &[f64], d: usize) -> Vec<(f64, f64)> {
    let n = (x.len() - d) / 4;
    let starts = std::iter::once(4 * n).chain((0..n).step_by(d));
    starts.map(|i| (x[i], x[i + d - 1])).collect()
}

/// A view of `states` in a picture of the given width whose height follows, `room` pixels at each side.
fn view(states: &[Vec<f64>], d: usize, width: f64, most: f64, room: f64) -> (View, f64) {
    let all = || states.iter().flat_map(|x| points(x, d));
    let (left, right) = extent(all().map(|p| p.0)).unwrap_or((0.0, 1.0));
    let (low, high) = extent(all().map(|p| p.1)).unwrap_or((0.0, 1.0));
    let scale = ((width - 2.0 * room) / (right - left).max(0.1))
        .min((most - 2.0 * room) / (high - low).max(0.1));
    let x0 = 0.5 * width - 0.5 * (left + right) * scale;
    (View { x0, y0: room + high * scale, scale }, (high - low) * scale + 2.0 * room)
}

fn scene(rollout: &Rollout, d: usize) -> Picture {
    let (view, height) = view(&rollout.xs, d, 920.0, 460.0, 40.0);
    let mut p = Picture::new(920.0, height, "pendulum: animation of the trajectory");
    chain(&mut p, view, &rollout.xs[0], d);
    p.data = Some(json!({
        "drawing": "chain", "dt": rollout.dt, "xs": rollout.xs, "us": rollout.us,
        "rewards": rollout.rewards, "dimension": d, "n": (rollout.xs[0].len() - d) / 4,
        "x0": view.x0, "y0": view.y0, "scale": view.scale,
    }));
    p
}

fn strip(rollout: &Rollout, d: usize) -> Picture {
    let (w, columns) = (230.0, 4);
    let (view, height) = view(&rollout.xs, d, w, 230.0, 34.0);
    let h = height + 10.0;
    let mut p = Picture::new(920.0, 2.0 * h, "pendulum: eight frames of the trajectory");
    let last = rollout.xs.len() - 1;
    for frame in 0..8 {
        let (column, row) = (frame % columns, frame / columns);
        let k = (frame as f64 / 7.0 * last as f64).round() as usize;
        p.begin(&format!(r#"transform="translate({} {})""#, column as f64 * w, row as f64 * h));
        p.rect("frame", (3.0, 3.0), (w - 6.0, h - 8.0), 4.0);
        chain(&mut p, view, &rollout.xs[k], d);
        p.text("label", (12.0, 20.0), &format!("t = {} s", number(k as f64 * rollout.dt, 2)));
        p.end();
    }
    p
}

/// Length of a spring before its group is scaled, in pixels.
const SPRING: f64 = 100.0;
const COILS: u32 = 14;

/// Springs, handle and masses at one state; their transforms and places are what the script changes.
fn chain(p: &mut Picture, view: View, x: &[f64], d: usize) {
    let places: Vec<(f64, f64)> = points(x, d)
        .into_iter()
        .map(|(right, up)| (view.x0 + view.scale * right, view.y0 - view.scale * up))
        .collect();
    for pair in places.windows(2) {
        let (dx, dy) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        p.begin(&format!(
            r#"class="spring-group" transform="translate({:.1} {:.1}) rotate({:.2}) scale(1 {:.3})""#,
            pair[0].0,
            pair[0].1,
            (-dx).atan2(dy).to_degrees(),
            dx.hypot(dy) / SPRING
        ));
        let coil = |i| {
            let side = match i {
                0 | COILS => 0.0,
                i if i % 2 == 0 => 5.0,
                _ => -5.0,
            };
            Some((side, SPRING * f64::from(i) / f64::from(COILS)))
        };
        p.polyline("spring", (0..=COILS).map(coil));
        p.end();
    }
    p.begin(&format!(
        r#"class="handle-group" transform="translate({:.1} {:.1})""#,
        places[0].0, places[0].1
    ));
    p.rect("handle", (-8.0, -6.0), (16.0, 12.0), 2.0);
    p.end();
    for &mass in &places[1..] {
        p.circle("bob", mass, 9.0, "");
    }
}

#[cfg(test)]
mod tests {
    use super::super::animation;
    use super::super::svg::assert_well_formed;
    use super::*;

    /// A handle that moves to the right over masses that stay, `links` of them.
    fn rollout(task: &str, d: usize, links: usize, flag: usize) -> Rollout {
        let state = |k: usize| {
            let mut x = vec![0.0; 4 * d * links + d + flag];
            for link in 0..links {
                x[d * link + d - 1] = -0.5 * (link + 1) as f64;
            }
            x[4 * d * links] = 0.05 * k as f64;
            x
        };
        Rollout {
            task: task.to_owned(),
            dt: 0.1,
            state_names: Vec::new(),
            xs: (0..11).map(state).collect(),
            us: vec![vec![0.5; d]; 10],
            rewards: vec![-1.0; 10],
        }
    }

    #[test]
    fn pendulums_have_a_scene_and_eight_frames() {
        for (task, d, links) in
            [("pods-2d-stop", 2, 1), ("pods-3d-origin", 3, 1), ("pods-double-stop", 3, 2)]
        {
            for flag in [0, 1] {
                let rollout = rollout(task, d, links, flag);
                let scene = animation::scene(&rollout).unwrap();
                let strip = animation::strip(&rollout).unwrap();
                assert_well_formed(&scene.file());
                assert_well_formed(&strip.file());
                for (picture, frames) in [(&scene, 1), (&strip, 8)] {
                    assert_eq!(picture.inline().matches("spring-group").count(), frames * links);
                    assert_eq!(picture.inline().matches("handle-group").count(), frames);
                    assert_eq!(picture.inline().matches("class=\"bob\"").count(), frames * links);
                }
                assert_eq!(scene.data.unwrap()["n"], d * links);
            }
        }
    }

    #[test]
    fn springs_lead_from_the_handle_to_the_mass() {
        let frame = |x: &[f64]| {
            let mut p = Picture::new(1.0, 1.0, "");
            chain(&mut p, View { x0: 50.0, y0: 10.0, scale: 100.0 }, x, 2);
            p.inline()
        };
        // Straight down half a metre; and to the right, where a spring that hangs turns anticlockwise.
        let down = frame(&[0.0, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(down.contains("translate(50.0 10.0) rotate(-0.00) scale(1 0.500)"), "{down}");
        assert!(down.contains(r#"cx="50.0" cy="60.0""#), "{down}");
        let right = frame(&[0.6, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.2]);
        assert!(right.contains("translate(60.0 -10.0) rotate(-90.00) scale(1 0.500)"), "{right}");
    }

    #[test]
    fn other_sizes_have_no_drawing() {
        for (d, links, flag) in [(3, 1, 1), (2, 1, 2), (2, 0, 0)] {
            let odd = rollout("pods-2d-stop", d, links, flag);
            assert!(animation::scene(&odd).is_none() && animation::strip(&odd).is_none());
        }
    }
}
