//! Drawings of tasks: a scene that the page's script animates, and a strip of still frames.
//!
//! A task's drawing is one entry of [`drawing`]: labels with units, and a function that draws the
//! system at one state. The script moves elements it finds by class name (`cart-group`,
//! `pole-group`, `force-group`, `handle-group`, `spring-group`, `bob`), so the picture stands without
//! the script too.

use serde_json::json;

use super::axis::{Axis, extent, number};
use super::chain;
use super::laps;
use super::rollout::Rollout;
use super::svg::Picture;

/// How a known task is drawn.
pub(crate) struct Drawing {
    /// States with their units; empty where those of the roll-out serve.
    pub(crate) state_labels: &'static [&'static str],
    /// Actions with their units, or the first of them.
    pub(crate) action_labels: &'static [&'static str],
    /// Component of the state that is an angle wrapped to [0, 2π).
    pub(crate) angle: Option<usize>,
    /// What a frame shows, for the caption.
    pub(crate) caption: &'static str,
    /// Whether a roll-out of at least one state and action has the sizes that are drawn.
    pub(super) fits: fn(&Rollout) -> bool,
    pub(super) scene: fn(&Rollout) -> Picture,
    pub(super) strip: fn(&Rollout) -> Picture,
}

static CARTPOLE: Drawing = Drawing {
    state_labels: &["position p [m]", "angle θ [rad]", "velocity ṗ [m/s]", "rate θ̇ [rad/s]"],
    action_labels: &["force [N]"],
    angle: Some(1),
    caption: "The track is marked in metres, the arrow is the force on the cart (its full length \
              is 40 N), and θ = π is upright.",
    fits: |rollout| rollout.xs[0].len() == 4 && rollout.us[0].len() == 1,
    scene: cartpole_scene,
    strip: cartpole_strip,
};

/// The cart-pole of the control suite, whose angle is 0 upright and whose control is in units of 10 N.
static CARTPOLE_SVG: Drawing = Drawing {
    state_labels: &[],
    action_labels: &["control [10 N]"],
    angle: None,
    caption: "The track is marked in metres, the arrow is the force on the cart; hanging at first.",
    scene: |rollout| cartpole_scene(&turned_over(rollout)),
    strip: |rollout| cartpole_strip(&turned_over(rollout)),
    ..CARTPOLE
};

/// Such a roll-out in the coordinates of `cartpole`.
fn turned_over(rollout: &Rollout) -> Rollout {
    let mut turned = rollout.clone();
    turned.xs.iter_mut().for_each(|x| x[1] = std::f64::consts::PI - x[1]);
    turned.us.iter_mut().for_each(|u| u[0] *= 10.0);
    turned
}

/// The drawing of a task; `None` where only plots can be shown.
pub(crate) fn drawing(task: &str) -> Option<&'static Drawing> {
    match task {
        "cartpole" => Some(&CARTPOLE),
        "cartpole-svg" => Some(&CARTPOLE_SVG),
        "car-lap" | "quadruped-lap" => Some(&laps::LAP),
        "hand-ball" => Some(&chain::HAND_BALL),
        "pods-2d-stop" | "pods-2d-origin" => Some(&chain::PLANE),
        "pods-3d-stop" | "pods-3d-origin" | "pods-double-stop" | "pods-double-origin" => {
            Some(&chain::SPACE)
        }
        _ => None,
    }
}

/// The scene to animate; its data hold the whole trajectory.
pub(crate) fn scene(rollout: &Rollout) -> Option<Picture> {
    let drawing = drawing(&rollout.task)?;
    fits(rollout).then(|| (drawing.scene)(rollout))
}

/// Eight still frames.
pub(crate) fn strip(rollout: &Rollout) -> Option<Picture> {
    let drawing = drawing(&rollout.task)?;
    fits(rollout).then(|| (drawing.strip)(rollout))
}

/// Whether the roll-out has the sizes its task's drawing needs.
fn fits(rollout: &Rollout) -> bool {
    let (has_state, has_action) = (!rollout.xs.is_empty(), !rollout.us.is_empty());
    has_state && has_action && drawing(&rollout.task).is_some_and(|d| (d.fits)(rollout))
}

/// Length of the pole in metres.
const POLE: f64 = 0.5;
/// Force of a full-length arrow, the action bound, in newtons.
const FULL_FORCE: f64 = 40.0;
/// Length of that arrow in metres on the track.
const ARROW: f64 = 0.5;
/// Width and height of the cart in metres.
const CART: (f64, f64) = (0.3, 0.15);
/// Radius of a wheel, as a share of the cart's height.
const WHEEL: f64 = 0.24;

fn cartpole_scene(rollout: &Rollout) -> Picture {
    let width = 920.0;
    let (low, high) = extent(rollout.xs.iter().map(|x| x[0])).unwrap_or((0.0, 0.0));
    // The arrow and half a cart stay on the picture, and no picture is larger than 200 px/m.
    let room = 0.65;
    let half = ((high - low) / 2.0 + room).max(width / 400.0);
    let centre = (low + high) / 2.0;
    let scale = width / (2.0 * half);
    let height = 2.0 * POLE * scale + 96.0;
    let ground = POLE * scale + 36.0 + CART.1 * scale / 2.0;
    let mut p = Picture::new(width, height, "cart-pole: animation of the trajectory");
    let x = Axis::linear("position [m]", (centre - half, centre + half), (0.0, width), 10);
    track(&mut p, &x, ground, height - 14.0);
    cartpole(&mut p, &x, ground, scale, &rollout.xs[0], rollout.us[0][0]);
    p.data = Some(json!({
        "drawing": "cartpole", "dt": rollout.dt, "xs": rollout.xs, "us": rollout.us,
        "rewards": rollout.rewards, "x0": x.at(0.0), "scale": scale, "ground": ground,
        "half": CART.0 * scale / 2.0, "lift": -CART.1 * scale * (WHEEL + 0.5), "force": FULL_FORCE,
    }));
    p
}

fn cartpole_strip(rollout: &Rollout) -> Picture {
    let (w, h, columns) = (230.0, 176.0, 4);
    let mut p = Picture::new(920.0, 2.0 * h, "cart-pole: eight frames of the trajectory");
    let last = rollout.xs.len() - 1;
    for frame in 0..8 {
        let (column, row) = (frame % columns, frame / columns);
        // Swing-up happens early: the frames are denser there.
        let share = (frame as f64 / 7.0).powf(1.5);
        let k = (share * last as f64).round() as usize;
        let state = &rollout.xs[k];
        p.begin(&format!(r#"transform="translate({} {})""#, column as f64 * w, row as f64 * h));
        p.rect("frame", (3.0, 3.0), (w - 6.0, h - 8.0), 4.0);
        let centre = state[0];
        let x = Axis::linear("", (centre - 1.0, centre + 1.0), (6.0, w - 6.0), 4);
        let scale = (w - 12.0) / 2.0;
        track(&mut p, &x, 92.0, h - 12.0);
        let force = rollout.us.get(k).or(rollout.us.last()).map_or(0.0, |u| u[0]);
        cartpole(&mut p, &x, 92.0, scale, state, force);
        p.text("label", (12.0, 20.0), &format!("t = {} s", number(k as f64 * rollout.dt, 2)));
        p.text("tick end", (w - 12.0, 20.0), &format!("{} N", number(force, 0)));
        p.end();
    }
    p
}

fn track(p: &mut Picture, x: &Axis, ground: f64, labels: f64) {
    p.line("track", (x.pixels.0, ground), (x.pixels.1, ground));
    for (value, text) in &x.ticks {
        // A label at the very edge would be cut.
        let inside = |at: &f64| *at > x.pixels.0 + 20.0 && *at < x.pixels.1 - 20.0;
        if let Some(at) = x.at(*value).filter(inside) {
            p.line("mark", (at, ground), (at, ground + 6.0));
            p.text("small mid", (at, labels), &format!("{text} m"));
        }
    }
}

/// Cart, pole and force at one state; the groups' transforms are what the script changes.
fn cartpole(p: &mut Picture, x: &Axis, ground: f64, scale: f64, state: &[f64], force: f64) {
    let (w, h) = (CART.0 * scale, CART.1 * scale);
    let at = x.at(state[0]).unwrap_or(0.0);
    let wheel = h * WHEEL;
    let top = -h - wheel;
    p.begin(&format!(r#"class="cart-group" transform="translate({at:.1} {ground:.1})""#));
    p.rect("cart", (-w / 2.0, top), (w, h), 3.0);
    for side in [-1.0, 1.0] {
        p.circle("wheel", (side * w * 0.28, -wheel), wheel, "");
    }
    let stretch = force / FULL_FORCE;
    let length = ARROW * scale;
    // The arrow grows from the cart's side; scaling it keeps one shape for both directions.
    let middle = top + h / 2.0;
    p.begin(&format!(
        r#"class="force-group" transform="translate({:.1} {middle:.1}) scale({stretch:.3} 1)""#,
        stretch.signum() * w / 2.0
    ));
    p.line("force", (0.0, 0.0), (length * 0.9, 0.0));
    p.polygon("force-head", &[(length, 0.0), (length * 0.84, -6.0), (length * 0.84, 6.0)]);
    p.end();
    // θ = 0 hangs down and turns anticlockwise; SVG turns clockwise.
    let turn = -state[1].to_degrees();
    p.begin(&format!(r#"transform="translate(0 {:.1})""#, top + h / 2.0));
    p.begin(&format!(r#"class="pole-group" transform="rotate({turn:.2})""#));
    p.line("pole", (0.0, 0.0), (0.0, POLE * scale));
    p.circle("bob", (0.0, POLE * scale), (0.05 * scale).max(5.0), "");
    p.end();
    p.circle("pivot", (0.0, 0.0), 3.0, "");
    p.end();
    p.end();
}

#[cfg(test)]
mod tests {
    use super::super::rollout::fixture::rollout;
    use super::super::svg::assert_well_formed;
    use super::*;

    #[test]
    fn the_cartpole_has_a_scene_and_eight_frames() {
        let rollout = rollout("cartpole");
        let (scene, strip) = (scene(&rollout).unwrap(), strip(&rollout).unwrap());
        assert_well_formed(&scene.file());
        assert_well_formed(&strip.file());
        assert_eq!(strip.inline().matches("cart-group").count(), 8);
        assert_eq!(strip.inline().matches("t = ").count(), 8);
        assert_eq!(scene.data.unwrap()["xs"].as_array().unwrap().len(), 41);
    }

    #[test]
    fn the_pole_hangs_at_zero_and_stands_at_pi() {
        let frame = |theta: f64| {
            let mut p = Picture::new(1.0, 1.0, "");
            let x = Axis::linear("", (-1.0, 1.0), (0.0, 200.0), 4);
            cartpole(&mut p, &x, 50.0, 100.0, &[0.5, theta, 0.0, 0.0], -20.0);
            p.inline()
        };
        // Unturned, the pole is drawn from the pivot downwards (y grows downwards).
        assert!(frame(0.0).contains(r#"x1="0.0" y1="0.0" x2="0.0" y2="50.0""#));
        assert!(
            frame(0.0).contains("rotate(-0.00)") && frame(0.0).contains("translate(150.0 50.0)")
        );
        assert!(frame(std::f64::consts::PI).contains("rotate(-180.00)"));
        assert!(frame(0.0).contains("scale(-0.500 1)"));
    }

    #[test]
    fn unknown_tasks_and_odd_sizes_have_no_drawing() {
        assert!(scene(&rollout("walker")).is_none());
        let mut odd = rollout("cartpole");
        odd.xs.iter_mut().for_each(|x| x.truncate(3));
        assert!(scene(&odd).is_none() && strip(&odd).is_none());
    }
}
