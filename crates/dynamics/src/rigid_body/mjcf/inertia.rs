//! Mass and inertia of bodies, given or derived from geoms.

use std::f64::consts::PI;

use nalgebra::{Matrix3, Vector3};

use super::super::description::Inertial;
use super::super::error::{RobotFileError, RobotFileProblem as Problem};
use super::super::xml::Element;
use super::attributes::{Classes, Effective};
use super::orientation::{self, ORIENTATIONS};
use super::{Context, InertiaSource};

/// Density of geoms where the file says nothing (kg/m³).
const DENSITY: f64 = 1000.0;

/// Mass, centre and inertia of a body in its own frame.
///
/// # Errors
/// If a number is wrong or the inertia of a shape is not known.
pub(super) fn of_body(
    context: &mut Context,
    classes: &Classes<'_>,
    class: usize,
    body: Element<'_, '_>,
) -> Result<Inertial, RobotFileError> {
    let given = match body.child("inertial") {
        Some(element) => Some(from_inertial(context, element)?),
        None => None,
    };
    let source = context.settings.inertia;
    if source == InertiaSource::Given || (source == InertiaSource::Either && given.is_some()) {
        return Ok(given.unwrap_or(Inertial::ZERO));
    }
    let mut parts = Vec::new();
    for geom in body.children().filter(|child| child.tag() == "geom") {
        let geom = Effective::new(geom, Some(&classes.of(geom, class)?.geom));
        let group = geom.number("group", 0.0)?;
        let [first, last] = context.settings.inertia_groups;
        if (first..=last).contains(&group) {
            parts.extend(from_geom(context, &geom)?);
        }
    }
    let merged = merge(&parts);
    let finite = merged.mass.is_finite()
        && merged.center.iter().chain(merged.inertia.iter()).all(|entry| entry.is_finite());
    if !finite {
        return Err(body.error(Problem::Overflow { what: "mass and inertia of geoms" }));
    }
    Ok(if parts.is_empty() { given.unwrap_or(merged) } else { merged })
}

fn from_inertial(
    context: &mut Context,
    element: Element<'_, '_>,
) -> Result<Inertial, RobotFileError> {
    let read = ["pos", "mass", "diaginertia", "fullinertia"];
    context.check_attributes(element, &[&read[..], &ORIENTATIONS[..]].concat(), &[])?;
    let source = Effective::new(element, None);
    let center = element.vector("pos")?.ok_or_else(|| element.missing("pos"))?;
    let mass = element.number("mass")?.ok_or_else(|| element.missing("mass"))?;
    if mass < 0.0 {
        return Err(element.invalid("mass", "a mass that is not negative (kg)"));
    }
    let rotation = orientation::read(context, &source)?;
    let own = match (element.vector("diaginertia")?, element.vector("fullinertia")?) {
        (Some([x, y, z]), None) => Matrix3::from_diagonal(&Vector3::new(x, y, z)),
        (None, Some([xx, yy, zz, xy, xz, yz])) => {
            if ORIENTATIONS.iter().any(|name| element.attribute(name).is_some()) {
                return Err(element.invalid("fullinertia", "no orientation beside it"));
            }
            Matrix3::new(xx, xy, xz, xy, yy, yz, xz, yz, zz)
        }
        (None, None) => return Err(element.missing("diaginertia")),
        (Some(_), Some(_)) => {
            return Err(element.invalid("fullinertia", "no `diaginertia` beside it"));
        }
    };
    let inertia = rotation * own * rotation.transpose();
    if !inertia.iter().all(|entry| entry.is_finite()) {
        return Err(element.error(Problem::Overflow { what: "inertia" }));
    }
    Ok(Inertial { mass, center: Vector3::from(center), inertia })
}

/// What a geom adds to its body, in the frame of the body; nothing for shapes without volume.
fn from_geom(
    context: &mut Context,
    geom: &Effective<'_, '_, '_>,
) -> Result<Option<Inertial>, RobotFileError> {
    let mass = match geom.get("mass") {
        Some(_) => Some(geom.not_negative("mass", 0.0)?),
        None => None,
    };
    let density = geom.not_negative("density", DENSITY)?;
    if mass.unwrap_or(density) == 0.0 {
        return Ok(None);
    }
    let kind = geom.get("type").map_or("sphere", |(kind, _)| kind);
    let why = "give the body an `inertial`, or the geom a mass of 0";
    let refused = match kind {
        // They have no volume, and static bodies alone may have them.
        "plane" | "hfield" => return Ok(None),
        "sphere" | "capsule" | "cylinder" | "box" | "ellipsoid" => {
            if geom.get("mesh").is_some() {
                Some("a shape fitted to a `mesh`")
            } else if geom.get("shellinertia").is_some_and(|(value, _)| value == "true") {
                Some("`shellinertia`")
            } else {
                None
            }
        }
        "mesh" | "sdf" => Some("the inertia of a geom of type `mesh` or `sdf`"),
        _ => {
            return Err(geom.invalid(
                "type",
                "one of plane, hfield, sphere, capsule, ellipsoid, cylinder, box, mesh, sdf",
            ));
        }
    };
    if let Some(what) = refused {
        context.unsupported(geom.element, what.to_owned(), why)?;
        return Ok(None);
    }
    let (center, rotation, half_length) = place(context, geom, kind)?;
    let sizes = sizes(geom, kind, half_length)?;
    let (volume, moments) = solid(kind, sizes);
    let mass = mass.unwrap_or(density * volume);
    let own = Matrix3::from_diagonal(&(moments * mass));
    Ok(Some(Inertial { mass, center, inertia: rotation * own * rotation.transpose() }))
}

/// Centre and axes of a geom, and half its length if `fromto` gives it.
type Place = (Vector3<f64>, Matrix3<f64>, Option<f64>);

/// Where a geom is in its body.
fn place(
    context: &Context,
    geom: &Effective<'_, '_, '_>,
    kind: &str,
) -> Result<Place, RobotFileError> {
    let Some([a, b, c, d, e, f]) = geom.vector("fromto")? else {
        let center = Vector3::from(geom.vector("pos")?.unwrap_or_default());
        return Ok((center, orientation::read(context, geom)?, None));
    };
    if kind == "sphere" {
        return Err(geom.invalid("fromto", "a capsule, cylinder, box or ellipsoid"));
    }
    let (from, to) = (Vector3::new(a, b, c), Vector3::new(d, e, f));
    let along = orientation::direction(to - from)
        .ok_or_else(|| geom.invalid("fromto", "two different points"))?;
    // The shapes that `fromto` places are alike about their long axis, so only z matters.
    let rotation = orientation::align_z(along).into_inner();
    Ok(((from + to) / 2.0, rotation, Some((to - from).norm() / 2.0)))
}

/// The numbers that describe a shape: radii, half lengths or half edges.
fn sizes(
    geom: &Effective<'_, '_, '_>,
    kind: &str,
    half_length: Option<f64>,
) -> Result<[f64; 3], RobotFileError> {
    let given = geom.list("size", 3)?;
    let needed = match (kind, half_length) {
        ("sphere", _) | (_, Some(_)) => 1,
        ("capsule" | "cylinder", None) => 2,
        _ => 3,
    };
    if given.len() < needed || given[..needed].iter().any(|size| *size <= 0.0) {
        let needed = format!("{needed} positive numbers for a {kind}");
        return Err(geom.invalid("size", &needed));
    }
    let mut sizes = [0.0; 3];
    sizes[..needed].copy_from_slice(&given[..needed]);
    match (kind, half_length) {
        ("capsule" | "cylinder", Some(half)) => sizes[1] = half,
        // Only the first number counts for the cross section.
        (_, Some(half)) => sizes = [sizes[0], sizes[0], half],
        (_, None) => {}
    }
    Ok(sizes)
}

/// Volume of a solid and its principal moments of inertia per mass, the length along z.
fn solid(kind: &str, [a, b, c]: [f64; 3]) -> (f64, Vector3<f64>) {
    let square = Vector3::new(b * b + c * c, c * c + a * a, a * a + b * b);
    match kind {
        "sphere" => (4.0 / 3.0 * PI * a.powi(3), Vector3::repeat(0.4 * a * a)),
        "ellipsoid" => (4.0 / 3.0 * PI * a * b * c, square / 5.0),
        "box" => (8.0 * a * b * c, square / 3.0),
        // Radius a, half length b.
        "cylinder" => {
            let across = a * a / 4.0 + b * b / 3.0;
            (2.0 * PI * a * a * b, Vector3::new(across, across, a * a / 2.0))
        }
        // A cylinder of length l and two halves of a sphere, whose centres of mass lie 3/8 a beyond
        // its ends: across, m_c (l²/12 + a²/4) + m_s (2a²/5 + l²/4 + 3 l a / 8).
        _ => {
            let l = 2.0 * b;
            let (cylinder, sphere) = (PI * a * a * l, 4.0 / 3.0 * PI * a.powi(3));
            let volume = cylinder + sphere;
            let across = cylinder * (l * l / 12.0 + a * a / 4.0)
                + sphere * (0.4 * a * a + l * l / 4.0 + 0.375 * l * a);
            let along = cylinder * a * a / 2.0 + sphere * 0.4 * a * a;
            (volume, Vector3::new(across, across, along) / volume)
        }
    }
}

/// The rigid union of bodies in one frame, by the theorem of parallel axes.
fn merge(parts: &[Inertial]) -> Inertial {
    let mass: f64 = parts.iter().map(|part| part.mass).sum();
    if mass == 0.0 {
        return Inertial::ZERO;
    }
    let center = parts.iter().map(|part| part.center * (part.mass / mass)).sum();
    let inertia = parts
        .iter()
        .map(|part| {
            let d: Vector3<f64> = part.center - center;
            part.inertia + (Matrix3::identity() * d.norm_squared() - d * d.transpose()) * part.mass
        })
        .sum();
    Inertial { mass, center, inertia }
}
