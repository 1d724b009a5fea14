//! The ways in which MJCF turns a frame.

use nalgebra::{Matrix3, Quaternion, Rotation3, Unit, UnitQuaternion, Vector3};

use super::super::error::RobotFileError;
use super::Context;
use super::attributes::Effective;

/// Attributes that turn a frame, of which an element has at most one.
pub(super) const ORIENTATIONS: [&str; 5] = ["quat", "axisangle", "euler", "xyaxes", "zaxis"];
/// Directions shorter than this are none.
const SHORTEST: f64 = 1e-10;

/// Axes of an element's frame in the frame around it, as columns.
///
/// # Errors
/// If there are two orientations or one without direction.
pub(super) fn read(
    context: &Context,
    source: &Effective<'_, '_, '_>,
) -> Result<Matrix3<f64>, RobotFileError> {
    let mut given = ORIENTATIONS.into_iter().filter(|name| source.get(name).is_some());
    let Some(name) = given.next() else { return Ok(Matrix3::identity()) };
    if let Some(second) = given.next() {
        return Err(source.invalid(second, &format!("to stand alone, but there is also `{name}`")));
    }
    let no_direction = || source.invalid(name, "a direction, which is not zero");
    let unit = |vector: Vector3<f64>| direction(vector).ok_or_else(no_direction);
    let rotation = match name {
        "quat" => {
            let [w, x, y, z] = source.vector(name)?.unwrap_or_default();
            UnitQuaternion::try_new(Quaternion::new(w, x, y, z), SHORTEST)
                .filter(|quaternion| quaternion.coords.iter().all(|part| part.is_finite()))
                .ok_or_else(no_direction)?
                .to_rotation_matrix()
        }
        "axisangle" => {
            let [x, y, z, angle] = source.vector(name)?.unwrap_or_default();
            Rotation3::from_axis_angle(&unit(Vector3::new(x, y, z))?, context.angle(angle))
        }
        "euler" => {
            let angles: [f64; 3] = source.vector(name)?.unwrap_or_default();
            let mut rotation = Rotation3::identity();
            for (axis, angle) in context.settings.euler_axes.into_iter().zip(angles) {
                let unit = match axis.to_ascii_lowercase() {
                    'x' => Vector3::x_axis(),
                    'y' => Vector3::y_axis(),
                    _ => Vector3::z_axis(),
                };
                let turn = Rotation3::from_axis_angle(&unit, context.angle(angle));
                // Small letters are axes that have turned along, capital ones those of the parent.
                rotation =
                    if axis.is_ascii_lowercase() { rotation * turn } else { turn * rotation };
            }
            rotation
        }
        "xyaxes" => {
            let [a, b, c, d, e, f] = source.vector(name)?.unwrap_or_default();
            let x = unit(Vector3::new(a, b, c))?.into_inner();
            let y = unit(Vector3::new(d, e, f))?.into_inner();
            let y = unit(y - x * x.dot(&y))?.into_inner();
            return Ok(Matrix3::from_columns(&[x, y, x.cross(&y)]));
        }
        _ => {
            let [x, y, z] = source.vector(name)?.unwrap_or_default();
            align_z(unit(Vector3::new(x, y, z))?)
        }
    };
    Ok(rotation.into_inner())
}

/// The smallest turn that brings z to a direction; half a turn about x for the opposite one.
pub(super) fn align_z(to: Unit<Vector3<f64>>) -> Rotation3<f64> {
    let across = Vector3::z().cross(&to);
    let axis = direction(across).unwrap_or(Vector3::x_axis());
    Rotation3::from_axis_angle(&axis, across.norm().atan2(to.z))
}

/// The unit vector along another, unless that has no length or an infinite one.
pub(super) fn direction(vector: Vector3<f64>) -> Option<Unit<Vector3<f64>>> {
    let length = vector.norm();
    (length > SHORTEST && length.is_finite()).then(|| Unit::new_unchecked(vector / length))
}
