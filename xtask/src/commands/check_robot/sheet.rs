//! Everything there is to say about a robot, as JSON and as tables.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use dynamics::rigid_body::Model;
use dynamics::rigid_body::description::{
    JointDescription, JointKind, LinkDescription, RobotDescription,
};
use nalgebra::{Matrix3, SymmetricEigen, Vector3};
use serde::Serialize;

use super::audit::Audit;
use crate::commands::table;

/// Iterations after which the eigenvalues of a 3 × 3 matrix would have converged long ago.
const MAX_ITERATIONS: usize = 200;

/// What is printed. Numbers in SI units; a limit that there is not is absent in JSON (`null`).
#[derive(Serialize)]
pub(super) struct Sheet {
    file: String,
    name: String,
    /// Entries of a configuration and of a velocity.
    nq: usize,
    nv: usize,
    /// Of all links, and of those that move (kg).
    total_mass: f64,
    moving_mass: f64,
    gravity: [f64; 3],
    time_step: Option<f64>,
    joints: Vec<Joint>,
    links: Vec<Link>,
    motors: Vec<Motor>,
    warnings: Vec<Warning>,
    pub(super) audit: Option<Audit>,
    /// Why there is no audit of a robot that moves.
    audit_error: Option<String>,
}

#[derive(Serialize)]
struct Joint {
    name: String,
    kind: &'static str,
    parent: String,
    child: String,
    /// In the joint's frame; the normal of a planar joint.
    axis: Option<[f64; 3]>,
    lower: Option<f64>,
    upper: Option<f64>,
    effort: Option<f64>,
    velocity: Option<f64>,
    damping: f64,
    friction: f64,
    stiffness: f64,
    armature: f64,
    line: u32,
}

#[derive(Serialize)]
struct Link {
    name: String,
    mass: f64,
    /// Centre of mass in the link's frame.
    center: [f64; 3],
    /// Principal moments of inertia about the centre, ascending; absent if they cannot be computed.
    moments: Option<[f64; 3]>,
    line: u32,
}

#[derive(Serialize)]
struct Motor {
    name: String,
    joint: String,
    gear: f64,
    lower: Option<f64>,
    upper: Option<f64>,
    line: u32,
}

#[derive(Serialize)]
struct Warning {
    line: u32,
    text: String,
}

impl Sheet {
    pub(super) fn new(
        file: &Path,
        description: &RobotDescription,
        model: &Model,
        audit: Option<Audit>,
        audit_error: Option<String>,
    ) -> Self {
        let motors = description.motors.iter().map(|motor| Motor {
            name: motor.name.clone(),
            joint: motor.joint.clone(),
            gear: motor.gear,
            lower: finite(motor.control_range[0]),
            upper: finite(motor.control_range[1]),
            line: motor.line,
        });
        let warnings = description
            .warnings
            .iter()
            .map(|remark| Warning { line: remark.line, text: remark.text.clone() });
        Self {
            file: file.display().to_string(),
            name: description.name.clone(),
            nq: model.nq(),
            nv: model.nv(),
            total_mass: description.links.iter().map(|link| link.inertial.mass).sum(),
            moving_mass: model.mass(),
            gravity: description.gravity.into(),
            time_step: description.time_step,
            joints: description.joints.iter().map(Joint::of).collect(),
            links: description.links.iter().map(Link::of).collect(),
            motors: motors.collect(),
            warnings: warnings.collect(),
            audit,
            audit_error,
        }
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> Result<String> {
        Ok(format!("{}\n", serde_json::to_string(self)?))
    }

    /// The tables. Writing to a string cannot fail.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let Self { name, file, nq, nv, total_mass, moving_mass, .. } = self;
        let (n_links, n_joints) = (self.links.len(), self.joints.len());
        let _ = writeln!(
            text,
            "{name} ({file})\n\
             links: {n_links}, joints: {n_joints}, degrees of freedom: {nv}, entries of q: {nq}\n\
             mass: {} kg, of which {} kg moves",
            number(*total_mass),
            number(*moving_mass)
        );
        let _ = writeln!(text, "gravity: {} m/s²", triple(&self.gravity));
        if let Some(dt) = self.time_step {
            let _ = writeln!(text, "time step of the file: {} s", number(dt));
        }
        let _ = writeln!(text, "\nJoints (rad, m, N, N·m, kg)\n{}", self.joint_table());
        let _ = writeln!(text, "\nLinks\n{}", self.link_table());
        if !self.motors.is_empty() {
            let _ = writeln!(text, "\nMotors\n{}", self.motor_table());
        }
        let _ = writeln!(text, "\nWarnings: {}", self.warnings.len());
        for Warning { line, text: reason } in &self.warnings {
            let _ = writeln!(text, "{file}:{line}: {reason}");
        }
        self.describe_audit(&mut text);
        text
    }

    fn joint_table(&self) -> comfy_table::Table {
        let mut table = table([
            "joint",
            "kind",
            "parent → child",
            "axis",
            "limits",
            "effort",
            "velocity",
            "damping",
            "friction",
            "stiffness",
            "armature",
        ]);
        for joint in &self.joints {
            let properties = match joint.kind {
                "fixed" => [const { String::new() }; 7],
                _ => [
                    range(joint.lower, joint.upper),
                    limit(joint.effort),
                    limit(joint.velocity),
                    number(joint.damping),
                    number(joint.friction),
                    number(joint.stiffness),
                    number(joint.armature),
                ],
            };
            let first = [
                joint.name.clone(),
                joint.kind.to_owned(),
                format!("{} → {}", joint.parent, joint.child),
                joint.axis.as_ref().map_or_else(String::new, triple),
            ];
            table.add_row(first.into_iter().chain(properties));
        }
        table
    }

    fn link_table(&self) -> comfy_table::Table {
        let mut table =
            table(["link", "mass [kg]", "centre of mass [m]", "principal moments [kg·m²]"]);
        for Link { name, mass, center, moments, .. } in &self.links {
            let moments = moments.as_ref().map_or_else(|| "–".to_owned(), triple);
            table.add_row([name.clone(), number(*mass), triple(center), moments]);
        }
        table
    }

    fn motor_table(&self) -> comfy_table::Table {
        let mut table = table(["motor", "joint", "gear", "range of control"]);
        for Motor { name, joint, gear, lower, upper, .. } in &self.motors {
            table.add_row([name.clone(), joint.clone(), number(*gear), range(*lower, *upper)]);
        }
        table
    }

    fn describe_audit(&self, text: &mut String) {
        let Some(Audit { points, seed, tolerance, condition, rows, .. }) = &self.audit else {
            let reason = self.audit_error.as_deref();
            let reason = reason.unwrap_or("nothing moves; --floating-base sets the robot free");
            let _ = writeln!(text, "\nNo audit of derivatives: {reason}");
            return;
        };
        let mut table = table(["identity or derivative", "worst error", "at state", "ok"]);
        for row in rows {
            let error = row.error.map_or("not finite".to_owned(), |error| format!("{error:.1e}"));
            let verdict = if row.is_ok() { "yes" } else { "NO" };
            table.add_row([row.check, &error, &row.point.to_string(), verdict]);
        }
        let _ = writeln!(
            text,
            "\nAudit of derivatives at {points} random states (seed {seed}), tolerance \
             {tolerance:.0e}\n{table}\n\
             largest condition number of the scaled mass matrix: {condition:.1e}"
        );
    }
}

impl Joint {
    fn of(joint: &JointDescription) -> Self {
        let properties = &joint.properties;
        let (kind, axis) = match joint.kind {
            JointKind::Fixed => ("fixed", None),
            JointKind::Revolute(axis) => ("revolute", Some(axis)),
            JointKind::Prismatic(axis) => ("prismatic", Some(axis)),
            JointKind::Planar { normal, .. } => ("planar", Some(normal)),
            JointKind::Spherical => ("spherical", None),
            JointKind::FreeFlyer => ("free", None),
        };
        Self {
            name: joint.name.clone(),
            kind,
            parent: joint.parent.clone(),
            child: joint.child.clone(),
            axis: axis.map(Vector3::into),
            lower: finite(properties.position_limit[0]),
            upper: finite(properties.position_limit[1]),
            effort: finite(properties.effort_limit),
            velocity: finite(properties.velocity_limit),
            damping: properties.damping,
            friction: properties.friction,
            stiffness: properties.stiffness,
            armature: properties.armature,
            line: joint.line,
        }
    }
}

impl Link {
    fn of(link: &LinkDescription) -> Self {
        let inertial = &link.inertial;
        Self {
            name: link.name.clone(),
            mass: inertial.mass,
            center: inertial.center.into(),
            moments: principal_moments(&inertial.inertia),
            line: link.line,
        }
    }
}

/// Ascending. Divided by the largest entry, numbers of any size keep away from overflow.
fn principal_moments(inertia: &Matrix3<f64>) -> Option<[f64; 3]> {
    let scale = inertia.amax();
    if scale == 0.0 {
        return Some([0.0; 3]);
    }
    let eigen = SymmetricEigen::try_new(inertia / scale, f64::EPSILON, MAX_ITERATIONS)?;
    let mut moments: [f64; 3] = (eigen.eigenvalues * scale).into();
    moments.sort_by(f64::total_cmp);
    Some(moments)
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// Five significant digits, without zeros behind them.
fn number(x: f64) -> String {
    const DIGITS: i32 = 5;
    let magnitude = x.abs();
    if x == 0.0 || !(1e-3..1e6).contains(&magnitude) {
        return if x == 0.0 { "0".to_owned() } else { format!("{x:.4e}") };
    }
    #[expect(clippy::cast_possible_truncation, reason = "between −3 and 5")]
    let exponent = magnitude.log10().floor() as i32;
    let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
    let text = format!("{x:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn triple(values: &[f64; 3]) -> String {
    values.map(number).join(", ")
}

fn limit(value: Option<f64>) -> String {
    value.map_or_else(|| "∞".to_owned(), number)
}

fn range(lower: Option<f64>, upper: Option<f64>) -> String {
    let lower = lower.map_or_else(|| "−∞".to_owned(), number);
    format!("{lower} … {}", limit(upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_five_digits() {
        let all = [0.0, 1.0, -0.5, 12.345_678, 100.0, 123_456.0, 1e-3, 2.5e-5, 3e7, 0.1 + 0.2];
        let texts = all.map(number);
        let expected =
            ["0", "1", "-0.5", "12.346", "100", "123456", "0.001", "2.5000e-5", "3.0000e7", "0.3"];
        assert_eq!(texts, expected);
        assert_eq!((range(None, Some(2.0)), limit(None)), ("−∞ … 2".to_owned(), "∞".to_owned()));
    }
}
